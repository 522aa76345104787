//! Recorded sessions of real runs give the same verdicts as when they were recorded.
//!
//! There is one session for each rule, and some for what rules must not report. They were recorded in `/tmp/demo`
//! with `env -i PATH=/usr/bin:/bin ./tracer -q --record NAME.session -o /dev/null` and the arguments below; the shell
//! handles `>>` and `|`, so the traced command inherits them. The perl scripts are in the folder of the sessions. To
//! record a session again, run its line and put the new pids and inodes into [`expected`].
//!
//! | name | command line |
//! |---|---|
//! | `accounted` | `-- perl -e 'syswrite STDOUT, ""' \| cat` |
//! | `append_log` | `-- cat a >> app.log`, where `copy_file_range` fails and `cat` writes instead |
//! | `daemon_unreachable` | `-- perl dial.pl`, stdout and stderr each a pipe to a `cat` |
//! | `delivered` | `-- seq 1 200 \| cat` |
//! | `discarded` | `-- seq 1 200 > /dev/null` |
//! | `elsewhere` | `-- sh -c 'exec >/tmp/demo/o; echo lost' \| cat` |
//! | `exec_failed` | gated: `/tmp/demo/missing; exit 0` |
//! | `held_back` | `-- perl held.pl \| cat` |
//! | `killed` | `-- sh -c 'seq 1 20; sleep 7; seq 1 20; exec sleep 1' \| cat`; tracer was killed after 6.5 s |
//! | `late_writer` | `-- sh -c 'echo direct; (sleep 0.5; echo late) & exit 0' \| cat` |
//! | `manager` | gated: `seq 1 100; seq 1 50; cat a >/dev/null` |
//! | `never_wrote` | `-- sleep 0.2 \| cat` |
//! | `no_terminal` | `-- perl -e 'print -t STDOUT ? "colour" : "plain", "\n"' \| cat` |
//! | `other_stream` | `-- sh -c 'echo "unknown flag: --progress" >&2; exit 125'`, a `cat` for each stream |
//! | `out_of_sight` | `-- ./runsc 0.1 \| cat`, where `runsc` is a copy of `sleep` |
//! | `out_of_sight_socket` | `-- seq 1 5 >&3` in bash after `exec 3<>/dev/tcp/127.0.0.1/7007`, with `perl listen.pl` |
//! | `own_losses` | `--max-objects 2 -- sh -c 'for n in 1 2 3; do seq 1 9 > /tmp/demo/o$n; done; seq 1 9' \| cat` |
//! | `put_off` | `-- perl again.pl \| (sleep 3; cat)` |
//! | `read_by_other` | goproc: `--behaviour other-reader --bytes 1000 -- head -c 5000 /dev/zero` |
//! | `read_then_lost` | goproc: `--behaviour retry --log worker.log --log-format json -- head -c 5000 /dev/zero`, tracer with `--worker-log worker.log` |
//! | `reader_gone` | goproc: `--behaviour close-early --bytes 100 -- yes` |
//! | `reader_left` | `-- sh -c 'yes \| head -n 1' \| cat` |
//! | `refused` | `-- perl fill.pl \| (sleep 1; cat)` |
//! | `stuck` | `--duration 2s -- yes \| sleep 4` |
//! | `unbalanced` | a copy of `delivered`, edited: see [`expected`] |
//! | `unread` | `--duration 600ms -- seq 1 200 \| sleep 6` |
//! | `unread_gone` | goproc: `--behaviour no-read -- seq 1 200` |
//!
//! *gated*: `sh -c 'read x < go; …' | cat` waits at the FIFO `go`, which is opened when `tracer … --pid` is attached.
//! *goproc*: `WORKLOAD_GO=go goproc --account FILE …` of the package `tracer-tests` waits in the same way. `a` has
//! the output of `seq 1 100`.

mod expected;

use self::expected::EXPECTED;
use super::{ReadError, replayed, session};
use crate::{session::LossReason, verdict::Rule};

#[test]
fn a_recorded_session_gives_its_verdict_again() {
    for &(name, rules, headline) in EXPECTED {
        let report = replayed(&session(name)).unwrap().report().0;
        let found: Vec<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!((name, found.as_slice()), (name, rules));
        assert_eq!(report.verdict, headline, "{name}");
        assert_eq!(report.losses[&LossReason::RecordingCut], u64::from(name == "killed"), "{name}");
        assert_eq!(report.losses[&LossReason::RecordingDamaged], 0, "{name}");
    }
}

#[test]
fn a_killed_run_keeps_what_its_latest_checkpoint_saw() {
    let report = replayed(&session("killed")).unwrap().report().0;
    let pipe = report.objects.iter().find(|object| object.kind == "pipe").unwrap();
    assert_eq!((pipe.written, pipe.read), (51, 51));
}

/// A cut anywhere loses the end, and the report says so; it never panics.
#[test]
fn a_session_cut_anywhere_is_reported_as_cut() {
    // Every byte of one session; the others in steps, because a debug build is slow.
    for (name, ..) in EXPECTED {
        let step = if *name == "discarded" { 1 } else { 997 };
        let whole = session(name);
        let header = whole.iter().position(|byte| *byte == b'\n').unwrap();
        let end = if *name == "killed" { usize::MAX } else { whole.len() - 1 };
        for length in (0..=whole.len()).step_by(step) {
            match replayed(&whole[..length]) {
                Err(ReadError::Empty) => assert_eq!(length, 0),
                Err(ReadError::CutHeader) => assert!((1..header).contains(&length), "{length}"),
                Err(error) => panic!("{name} cut at {length}: {error}"),
                Ok(recording) => {
                    assert!(length >= header, "{name} cut at {length}");
                    assert_eq!(recording.is_cut, length < end, "{name} cut at {length}");
                    assert_eq!(recording.damaged, 0, "{name} cut at {length}");
                    let report = recording.report().0;
                    assert_eq!(report.losses[&LossReason::RecordingCut], u64::from(length < end));
                }
            }
        }
    }
}
