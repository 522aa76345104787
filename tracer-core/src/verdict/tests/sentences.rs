//! Messages: they name the right process, in words that cannot be misread.

use tracer_common::{
    ledger::{LedgerRow, error},
    object::ObjectId,
};

use super::scene::*;
use crate::{
    event::{BlockedCall, FileNow},
    session::{GUEST_HANDED_IN, GUEST_MAJOR},
    text::errno,
};

const SEQ: [&str; 3] = ["seq", "1", "9"];

fn message_of(scene: &Scene, rule: Rule) -> String {
    scene.finding(rule).unwrap_or_else(|| panic!("no {rule}: {:#?}", scene.judged())).message
}

/// `execvp(3)` continues along `PATH` after a file without execute permission.
#[test]
fn a_file_that_may_not_be_executed_is_named_before_one_that_is_not_there() {
    let scene = managed(&["sh"]).fork(80, MANAGER).exec_failed(80, errno::EACCES, "/opt/bin/job");
    let scene = scene.exec_failed(80, errno::ENOENT, "/usr/bin/job").exited(80, 127, 200);
    let message = message_of(&scene, Rule::ExecFailed);
    assert_eq!(
        message,
        "The command never started: pid 80, started by manager (pid 7), could not execute \
         /opt/bin/job: EACCES (permission denied)."
    );
}

#[test]
fn an_emulated_call_that_failed_here_is_no_failure() {
    let scene = managed(&["sh"]).fork(80, MANAGER).emulated(80, "exe");
    let scene = scene.exec_failed(80, 38, "").exited(80, 0, 200);
    assert!(scene.finding(Rule::ExecFailed).is_none(), "{:#?}", scene.judged());
}

#[test]
fn a_single_lost_fact_is_singular_and_has_its_remedy() {
    let lost = |reason| wrote_and_read(&SEQ, 9).lost(reason, 1).finding(Rule::OwnLosses).unwrap();
    assert!(
        lost(Reason::ObjectsFull)
            .message
            .starts_with("tracer could not record 1 fact (objects_full)")
    );
    assert!(lost(Reason::ObjectsFull).advice.unwrap().contains("--max-objects"));
    assert!(lost(Reason::ProcessesFull).advice.unwrap().contains("--max-processes"));
    assert!(!lost(Reason::X32NotCovered).advice.unwrap().contains("--max"));
}

#[test]
fn doubt_names_its_cause() {
    let lossy = wrote_and_read(&SEQ, 9).lost(Reason::RingFull, 1).exited(COMMAND, 0, 200);
    let message = message_of(&lossy, Rule::Delivered);
    assert!(message.contains(", as far as tracer could see. It exited"), "{message}");
    let silent = managed(&SEQ).lost(Reason::RingFull, 1).exited(COMMAND, 0, 200);
    assert!(message_of(&silent, Rule::NeverWrote).contains("the trace is incomplete"));
}

#[test]
fn one_object_for_both_streams_is_named_once() {
    let merged = managed(&["sh"]).command(80, MANAGER, &["true"], [NULL, OUT, OUT]);
    let finding = merged.exited(80, 0, 200).judged().into_iter().find(|found| found.pid == 80);
    let advice = finding.and_then(|found| found.advice).unwrap();
    assert_eq!(advice.matches("pipe:[101]").count(), 1, "{advice}");
}

#[test]
fn a_closed_stream_is_no_place_for_output() {
    let advice = |stdio| {
        let scene = managed(&["sh"]).command(80, MANAGER, &SEQ, stdio).exited(80, 0, 200);
        let found = scene.judged();
        let silent = found.into_iter().find(|it| it.rule == Rule::NeverWrote && it.pid == 80);
        silent.unwrap().advice.unwrap()
    };
    let closed = ObjectId::NONE;
    for (stdio, expected) in [
        ([NULL, OUT, ERR], "Its output would have gone to pipe:[101] and pipe:[102]."),
        ([NULL, closed, ERR], "Its stdout is closed; its stderr would have gone to pipe:[102]."),
        ([NULL, OUT, closed], "Its output would have gone to pipe:[101]; its stderr is closed."),
        ([NULL, closed, closed], "Its stdout and stderr are closed."),
    ] {
        assert!(advice(stdio).ends_with(expected), "{}", advice(stdio));
    }
}

#[test]
fn who_reads_stderr_is_named() {
    let scene = managed(&["ls"]).wrote(COMMAND, 2, ERR, write(90)).exited(COMMAND, 2, 130);
    let advice = |scene: &Scene| scene.finding(Rule::OtherStream).unwrap().advice.unwrap();
    let read = scene.clone().read(MANAGER, ERR, 90, 110);
    assert_eq!(
        advice(&read),
        "The error message is on stderr, which manager (pid 7) read: look at what it does with that."
    );
    assert!(advice(&scene).ends_with("read that stream as well as stdout."));
}

#[test]
fn a_close_at_the_end_of_the_command_is_not_0_ms_before_it() {
    let broken = with_errors(write(500), error::EPIPE, 1);
    let scene = managed(&["yes"]).wrote(COMMAND, 1, OUT, broken).read(MANAGER, OUT, 500, 110);
    let message =
        message_of(&scene.closed(MANAGER, OUT, 120).exited(COMMAND, 141, 120), Rule::ReaderGone);
    assert!(message.contains("closed its read end less than 1 ms after"), "{message}");
    assert!(message.contains("1 write refused"), "{message}");
}

/// A shell and `head` close the pipe at almost the same time; `head` had read.
#[test]
fn the_reader_is_named_and_not_the_shell_that_closed_a_moment_later() {
    let broken = with_errors(write(500), error::EPIPE, 1);
    let scene = managed(&["yes"]).wrote(COMMAND, 1, OUT, broken).read(30, OUT, 500, 110);
    let scene = scene.closed(30, OUT, 120).closed(MANAGER, OUT, 121).exited(COMMAND, 141, 122);
    assert!(message_of(&scene, Rule::ReaderGone).contains("reader30 (pid 30) closed"));
}

#[test]
fn a_stuck_command_is_named_once() {
    let scene = managed(&["yes"]).wrote(COMMAND, 1, OUT, write(9)).read(MANAGER, OUT, 9, 110);
    let message = message_of(&scene.blocked(COMMAND, BlockedCall::Write, 1, OUT), Rule::Stuck);
    assert!(
        message.starts_with("yes (pid 71) is stuck: it is blocked writing to stdout;"),
        "{message}"
    );
}

#[test]
fn a_held_stream_has_not_ended() {
    let scene = wrote_and_read(&["sh"], 9).fork(80, COMMAND).exited(COMMAND, 0, 200);
    let message = message_of(&scene.holds(80, 1, OUT), Rule::LateWriter);
    assert!(
        message.contains("sh (pid 80), which it started, still holds its output open"),
        "{message}"
    );
    assert!(message.contains("9.8 s after the command the stream has not ended"), "{message}");
}

#[test]
fn short_writes_alone_are_reported_without_refusals() {
    let row = LedgerRow { short: 1, ..write(5) };
    let message = message_of(&managed(&SEQ).wrote(COMMAND, 1, OUT, row), Rule::PutOff);
    assert!(message.contains("had 1 write to stdout cut short; it went on"), "{message}");
}

#[test]
fn a_process_that_set_non_blocking_itself_is_not_named_twice() {
    let row = LedgerRow { last_refused: 9, ..with_errors(write(5), error::EAGAIN, 1) };
    let scene = managed(&SEQ).wrote(COMMAND, 1, OUT, row).exited(COMMAND, 0, 200);
    let message = message_of(&scene, Rule::Refused);
    assert!(message.starts_with("The kernel refused the last 9 B to stdout of seq"), "{message}");
    let row = with_errors(LedgerRow { calls: 0, ..write(0) }, error::OTHER, 2);
    let message = message_of(&managed(&SEQ).wrote(COMMAND, 1, OUT, row), Rule::Refused);
    assert!(
        message.contains("2 writes to stdout of seq 1 9 (pid 71) with another error"),
        "{message}"
    );
}

#[test]
fn a_reader_on_this_machine_is_not_reported_as_remote() {
    let to = |remote| {
        let scene = managed(&["sh"]).socket(object(201), 2, remote, ObjectId::NONE);
        let scene = scene.command(80, MANAGER, &SEQ, [NULL, object(201), ERR]);
        message_of(&scene.wrote(80, 1, object(201), write(9)), Rule::OutOfSight)
    };
    assert!(to([127, 0, 0, 1]).contains("on this machine was not seen"));
    assert!(to([10, 0, 0, 9]).contains("left this machine"));
}

#[test]
fn a_strong_claim_without_complete_counts_begins_with_unsure() {
    let broken = || with_errors(write(500), error::EPIPE, 1);
    let scene = || managed(&["yes"]).wrote(COMMAND, 1, OUT, broken()).exited(COMMAND, 141, 120);
    assert!(message_of(&scene(), Rule::ReaderGone).starts_with("yes (pid"));
    let message = message_of(&scene().lost(Reason::RingFull, 1), Rule::ReaderGone);
    assert!(message.starts_with("Unsure, because tracer missed something: yes (pid"), "{message}");
}

/// Python's buffer without `-u`: nothing for seconds, then 8,192 B at once.
#[test]
fn blocks_that_are_far_apart_are_reported_with_size_and_distance() {
    let row = |calls, bytes| LedgerRow {
        calls,
        bytes,
        first_ns: at(1_000),
        last_ns: at(7_000),
        ..LedgerRow::default()
    };
    let asked = || managed(&["job"]).asked_terminal(COMMAND, 1, 25);
    let scene = asked().wrote(COMMAND, 1, OUT, row(4, 3 * 8192 + 100));
    let message = message_of(&scene, Rule::HeldBack);
    assert!(message.contains("in full blocks of 8,192 B, one every 2.0 s"), "{message}");
    let lines = asked().wrote(COMMAND, 1, OUT, row(40, 4_000));
    assert!(lines.finding(Rule::HeldBack).is_none());
    let told_nothing = managed(&["job"]).wrote(COMMAND, 1, OUT, row(4, 3 * 8192 + 100));
    assert!(told_nothing.finding(Rule::HeldBack).is_none());
}

/// Which file of this machine it is, is not known: it is neither delivered nor lost.
#[test]
fn output_to_an_unknown_file_outside_a_sandbox_is_out_of_sight_and_no_device() {
    let stream =
        |fd| ObjectId { ino: fd, dev: GUEST_MAJOR << 20 | 1, discriminator: GUEST_HANDED_IN };
    let scene = managed(&["sh"]).file(stream(1), "host:[6]").file(stream(2), "host:[4]");
    let scene = scene.command(80, MANAGER, &SEQ, [NULL, stream(1), stream(2)]);
    // `echo error >&2` in a shell.
    let scene = scene.wrote(80, 1, stream(1), write(7)).wrote(80, 1, stream(2), write(6));
    let scene = scene.exited(80, 0, 200);
    for rule in [Rule::Delivered, Rule::Elsewhere] {
        assert!(scene.finding(rule).is_none(), "{:#?}", scene.judged());
    }
    let found: Vec<_> = scene.judged().into_iter().map(|finding| finding.message).collect();
    for said in ["wrote 7 B to stdout, into host:[6]; ", "wrote 6 B to stderr, into host:[4]; "] {
        assert!(found.iter().any(|message| message.contains(said)), "{found:?}");
    }
}

#[test]
fn two_fds_of_one_writer_may_have_overwritten_each_other() {
    let log = ObjectId { ino: 90, ..OUT };
    let lost = |stderr, fds: [i32; 2]| {
        let scene = managed(&["sh"]).file(log, "/tmp/log");
        let scene = scene.command(80, MANAGER, &SEQ, [NULL, log, stderr]);
        let scene = fds.into_iter().fold(scene, |scene, fd| scene.wrote(80, fd, log, write(7)));
        let mut scene = scene.exited(80, 0, 200);
        let file = scene.0.objects.get_mut(&log).unwrap();
        (file.now, file.size_after) = (Some(FileNow::Same), Some(7));
        message_of(&scene, Rule::FileLost)
    };
    for fds in [[1, 1], [1, 2]] {
        assert!(lost(log, fds).contains("its stdout and stderr are two openings of the file."));
    }
    assert!(lost(ERR, [1, 5]).contains(": written over through another of its fds."));
    assert!(lost(ERR, [1, 1]).contains(": written over by its later output, or the file was cut"));
}

/// Of a pipe, a look finds the bytes. Where none is possible, the number is computed, and the sentence says so.
#[test]
fn a_number_that_was_computed_says_so() {
    let said = |scene: Scene| scene.finding(Rule::Unread).unwrap().message;
    let computed = "(computed: tracer could not look inside)";
    let left = || managed(&["seq"]).wrote(COMMAND, 1, OUT, write(500)).read(MANAGER, OUT, 200, 110);
    let ended = |scene: Scene| scene.closed(MANAGER, OUT, 120).exited(COMMAND, 0, 130);
    let message = said(ended(left()));
    assert!(
        message.contains(&format!("300 B are lost, unread in pipe:[101] {computed}: ")),
        "{message}"
    );
    let (near, far) = (object(220), object(221));
    let socket = managed(&["sh"]).socket(near, 1, [0; 4], far).socket(far, 1, [0; 4], near);
    let mut socket = socket.command(80, MANAGER, &["seq"], [NULL, near, ERR]);
    socket.0.objects.get_mut(&near).unwrap().queue.valid = 1;
    let message = said(socket.wrote(80, 1, near, write(9)).exited(80, 0, 130));
    assert!(message.contains(&format!("unread in socket:[220] {computed}")), "{message}");
    for scene in [ended(left().inside(OUT, 300, 115)), left().inside(OUT, 300, 115)] {
        let message = said(scene);
        assert!(!message.contains("computed"), "{message}");
    }
}
