//! Sessions recorded from real runs give the verdicts that they gave then.

use super::{ReadError, replayed, session};
use crate::recording::CUT;

/// Name, rules in order, and the headline.
const EXPECTED: [(&str, &[&str], &str); 9] = [
    (
        "delivered",
        &["delivered"],
        "seq 1 200 (pid 15579) wrote 692 B to stdout, all read by cat (pid 15576); nothing to \
         stderr. It exited with 0.",
    ),
    (
        "discarded",
        &["discarded"],
        "seq 1 200 (pid 15586) wrote 692 B to stdout, which is /dev/null: discarded. It exited with 0.",
    ),
    (
        "killed",
        &["own_losses", "delivered"],
        "The recording stops before the end of the trace, so what came later is not in this report \
         and the counts below may be too small.",
    ),
    (
        "manager",
        &["discarded", "delivered", "delivered"],
        "cat (pid 3367) wrote 300 B to stdout, which is /dev/null: discarded. It exited with 0.",
    ),
    (
        "never_wrote",
        &["never_wrote"],
        "sleep 0.2 (pid 15569) wrote nothing: no byte and no attempt on stdout or stderr, from its \
         first instruction to its end. It exited with 0.",
    ),
    (
        "other_stream",
        &["other_stream"],
        "sh -c echo \"unknown flag: --progress\" >&2; exit 125 (pid 15547) wrote nothing to stdout \
         and 25 B to stderr, all read by cat (pid 15543). It exited with 125.",
    ),
    (
        "reader_gone",
        &["reader_gone"],
        "sh -c sleep 0.3; seq 1 5 (pid 15663) could not write to stdout: nobody held its read end \
         (EPIPE, 1 writes refused) after 0 B had been written. It exited with 141.",
    ),
    (
        "refused",
        &["refused", "unread"],
        "The kernel refused 4,096 B at the end of perl fill.pl (pid 4365) to stdout with EAGAIN: the \
         pipe was full and the fd is set to O_NONBLOCK. It exited with 0.",
    ),
    (
        "unread",
        &["unread"],
        "seq 1 200 (pid 4370) wrote 692 B to stdout; 692 B are still unread in pipe:[2324995]; sleep \
         (pid 4368) can still read it but has not. It exited with 0.",
    ),
];

#[test]
fn a_recorded_session_gives_its_verdict_again() {
    for (name, rules, headline) in EXPECTED {
        let report = replayed(&session(name)).unwrap().report();
        let found: Vec<&str> =
            report.findings.iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!((name, found.as_slice()), (name, rules));
        assert_eq!(report.verdict, headline);
        assert_eq!(report.losses[CUT], u64::from(name == "killed"), "{name}");
        assert_eq!(report.losses["recording_damaged"], 0, "{name}");
    }
}

#[test]
fn a_killed_run_keeps_what_its_latest_checkpoint_saw() {
    let report = replayed(&session("killed")).unwrap().report();
    let pipe = report.objects.iter().find(|object| object.kind == "pipe").unwrap();
    assert_eq!((pipe.written, pipe.read), (63, 63));
}

/// Cutting anywhere loses the end, and that is said: never a panic, never a whole report.
#[test]
fn a_session_cut_anywhere_says_so() {
    // Every byte of two; the others in steps, because a debug build takes its time.
    for (name, ..) in &EXPECTED {
        let step = if ["discarded", "unread"].contains(name) { 1 } else { 61 };
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
                    let report = recording.report();
                    assert_eq!(report.losses[CUT], u64::from(length < end));
                }
            }
        }
    }
}
