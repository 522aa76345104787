//! Situations in which rules about the kernel side must report, and similar ones in which they must not.

use tracer_common::{
    ledger::{LedgerRow, error},
    op,
};

use super::scene::*;
use crate::{
    event::BlockedCall,
    text::errno,
    verdict::Severity::{self, Info, Loss, Warning},
};

/// A rule, a situation, and the severity of the rule's finding; `None` if it reports nothing.
pub(super) type Expected = (Rule, &'static str, Scene, Option<Severity>);

/// Checks the findings of all situations.
pub(super) fn check(table: Vec<Expected>) {
    for (rule, situation, scene, expected) in table {
        let found = scene.finding(rule).map(|finding| finding.severity);
        assert_eq!(found, expected, "{rule}: {situation}: {:#?}", scene.judged());
    }
}

const SEQ: [&str; 3] = ["seq", "1", "9"];

fn copied(op: u32, bytes: u64) -> LedgerRow {
    LedgerRow { ops: 1 << op, ..write(bytes) }
}

/// A failed call and nothing else.
fn failed(op: u32, class: u32) -> LedgerRow {
    with_errors(LedgerRow { calls: 0, ..copied(op, 0) }, class, 1)
}

#[test]
fn silence_is_distinguished_from_output_on_another_path() {
    let silent = || managed(&["sleep", "1"]).exited(COMMAND, 0, 500);
    let by_copy = silent().wrote(COMMAND, 1, OUT, copied(op::COPY_FILE_RANGE, 300));
    let redirected = silent().file(object(9), "/tmp/o").wrote(COMMAND, 1, object(9), write(5));
    let by_child = silent().command(80, COMMAND, &SEQ, [NULL, OUT, ERR]);
    check(vec![
        (Rule::NeverWrote, "nothing at all", silent(), Some(Warning)),
        (Rule::NeverWrote, "copied by copy_file_range", by_copy, None),
        (Rule::NeverWrote, "into a file of its own", redirected, None),
        (Rule::NeverWrote, "a child wrote", by_child.wrote(80, 1, OUT, write(3)), None),
        (Rule::NeverWrote, "a sandbox", managed(&["runsc", "run"]).exited(COMMAND, 0, 500), None),
    ]);
}

#[test]
fn other_stream_needs_two_separate_streams() {
    let complains = || managed(&SEQ).wrote(COMMAND, 2, ERR, write(20)).exited(COMMAND, 1, 200);
    let one = managed(&["sh"]).command(80, MANAGER, &SEQ, [NULL, OUT, OUT]);
    let gone = complains().wrote(COMMAND, 1, OUT, failed(op::WRITE, error::EPIPE));
    check(vec![
        (Rule::OtherStream, "stderr only", complains(), Some(Warning)),
        (Rule::OtherStream, "2>&1", one.wrote(80, 2, OUT, write(20)), None),
        (Rule::OtherStream, "stdout was refused", gone, None),
        (Rule::Elsewhere, "2>&1", managed(&SEQ).wrote(COMMAND, 2, OUT, write(20)), None),
        (Rule::Elsewhere, "2>/dev/null", managed(&SEQ).wrote(COMMAND, 2, NULL, write(20)), None),
        (
            Rule::Elsewhere,
            "into a file",
            managed(&SEQ).file(object(9), "/tmp/o").wrote(COMMAND, 1, object(9), write(5)),
            Some(Info),
        ),
    ]);
}

#[test]
fn only_dev_null_is_discarded() {
    let to = |id| {
        let scene = managed(&["sh"]).file(object(9), "/tmp/null");
        scene.command(80, MANAGER, &SEQ, [NULL, id, ERR]).wrote(80, 1, id, write(5))
    };
    check(vec![
        (Rule::Discarded, "/dev/null", to(NULL), Some(Warning)),
        (Rule::Discarded, "a file", to(object(9)), None),
        (Rule::Delivered, "a file", to(object(9)), Some(Info)),
        (Rule::Delivered, "/dev/null", to(NULL), None),
    ]);
}

#[test]
fn refused_bytes_were_not_written_again() {
    let refused = |last_refused| {
        let row = LedgerRow { last_refused, refused: 9, ..with_errors(write(5), error::EAGAIN, 2) };
        managed(&SEQ).wrote(COMMAND, 1, OUT, row)
    };
    let short = managed(&SEQ).wrote(COMMAND, 1, OUT, LedgerRow { short: 1, ..write(5) });
    let file = || managed(&["sh"]).file(object(9), "/tmp/log");
    let cat = |row| {
        let scene = file().command(80, MANAGER, &["cat", "a"], [NULL, object(9), ERR]);
        scene.wrote(80, 1, object(9), row).exited(80, 0, 200)
    };
    let fell_back = LedgerRow { ops: 1 << op::WRITE | 1 << op::COPY_FILE_RANGE, ..write(300) };
    check(vec![
        (Rule::Refused, "gave up", refused(4).exited(COMMAND, 0, 200), Some(Loss)),
        (Rule::Refused, "it came again", refused(0).exited(COMMAND, 0, 200), None),
        (Rule::Refused, "it still runs and may come again", refused(4), None),
        (Rule::PutOff, "it still runs and may come again", refused(4), Some(Warning)),
        (Rule::PutOff, "it came again", refused(0).exited(COMMAND, 0, 200), Some(Warning)),
        (Rule::PutOff, "gave up", refused(4).exited(COMMAND, 0, 200), None),
        (Rule::PutOff, "a short write", short, Some(Info)),
        (Rule::PutOff, "nothing was refused", wrote_and_read(&SEQ, 5), None),
        (Rule::Refused, "a closed fd", cat(failed(op::WRITE, error::EBADF)), Some(Loss)),
        (Rule::Refused, "cat >> log", cat(with_errors(fell_back, error::EBADF, 1)), None),
        (Rule::Refused, "busybox cat >> log", cat(with_errors(fell_back, error::OTHER, 1)), None),
        (Rule::Refused, "cat empty >> log", cat(failed(op::COPY_FILE_RANGE, error::EBADF)), None),
        (
            Rule::Refused,
            "the disk is full",
            cat(with_errors(fell_back, error::ENOSPC, 1)),
            Some(Loss),
        ),
    ]);
}

/// `yes | head`: the next command of the pipeline has pid 72, the same parent, and ends with this status.
fn pipeline(status: u32) -> Scene {
    let broken = with_errors(write(500), error::EPIPE, 1);
    let scene = managed(&["yes"]).command(72, MANAGER, &["head"], [OUT, NULL, ERR]);
    let scene = scene.wrote(COMMAND, 1, OUT, broken).read(72, OUT, 400, 110);
    scene.closed(72, OUT, 120).ended(72, status, 121).exited(COMMAND, 141, 122)
}

#[test]
fn a_pipeline_that_had_enough_loses_nothing() {
    let broken = with_errors(write(500), error::EPIPE, 1);
    let closed = managed(&["yes"]).wrote(COMMAND, 1, OUT, broken).read(MANAGER, OUT, 400, 110);
    let closed = || closed_by_manager(&closed);
    // The shell that created the pipe closes its own end a moment after `head`.
    let shell_later = pipeline(0).closed(MANAGER, OUT, 123);
    check(vec![
        (Rule::ReaderGone, "the manager closed", closed(), Some(Loss)),
        (Rule::ReaderGone, "yes | head", pipeline(0), Some(Info)),
        (Rule::ReaderGone, "yes | cat | head", pipeline(13), Some(Info)),
        (Rule::ReaderGone, "the shell closes a moment after head", shell_later, Some(Info)),
        (Rule::ReaderGone, "the next command failed", pipeline(1 << 8), Some(Loss)),
        (Rule::Unread, "yes | head", pipeline(0), None),
        (Rule::ReaderGone, "it only stopped writing", wrote_and_read(&SEQ, 5), None),
    ]);
}

fn closed_by_manager(scene: &Scene) -> Scene {
    scene.clone().closed(MANAGER, OUT, 120).exited(COMMAND, 141, 122)
}

#[test]
fn bytes_are_unread_only_without_an_active_reader() {
    let half = || managed(&SEQ).wrote(COMMAND, 1, OUT, write(100)).exited(COMMAND, 0, 200);
    let held = |ms| half().read(MANAGER, OUT, 60, ms).holds(MANAGER, 5, OUT);
    let lost = half().read(MANAGER, OUT, 60, 110).closed(MANAGER, OUT, 300);
    let all = wrote_and_read(&SEQ, 100).closed(MANAGER, OUT, 300).exited(COMMAND, 0, 200);
    check(vec![
        (Rule::Unread, "the reader closed", lost.clone(), Some(Loss)),
        (Rule::Unread, "the reader could but does not", held(110), Some(Warning)),
        (Rule::Unread, "the reader is at work", held(9_900), Some(Info)),
        (Rule::Unread, "all was read", all.clone(), None),
        (Rule::Delivered, "some is unread", lost, None),
        (Rule::Delivered, "all was read", all, Some(Info)),
    ]);
}

#[test]
fn a_writer_is_stuck_only_without_an_active_reader() {
    let full = |ms| {
        let scene = managed(&["yes"]).wrote(COMMAND, 1, OUT, write(65_636));
        let scene = scene.read(MANAGER, OUT, 100, ms).inside(OUT, 65_536, 10_000);
        scene.blocked(COMMAND, BlockedCall::Write, 1, OUT)
    };
    let file = managed(&["sh"]).file(object(9), "/srv/nfs/log");
    let file = file.command(80, MANAGER, &["dd"], [NULL, object(9), ERR]);
    let file = file.wrote(80, 1, object(9), write(9)).blocked(80, BlockedCall::Write, 1, object(9));
    let waits = wrote_and_read(&["cat"], 9).blocked(COMMAND, BlockedCall::Read, 0, object(44));
    check(vec![
        (Rule::Stuck, "the reader stopped", full(200), Some(Warning)),
        (Rule::Stuck, "the reader reads", full(9_800), None),
        (Rule::Stuck, "it waits for a disk", file, None),
        (Rule::Stuck, "it waits for input", waits, None),
    ]);
}

#[test]
fn a_path_search_that_succeeds_is_no_failed_start() {
    let child = || managed(&["sh"]).fork(80, COMMAND).exec_failed(80, errno::ENOENT, "/usr/bin/x");
    let manager = managed(&["sh"]).fork(80, MANAGER).exec_failed(80, errno::ENOENT, "/bin/x");
    let found = manager.clone().exec(80, &["/bin/x"], [NULL, OUT, ERR]).exited(80, 0, 200);
    check(vec![
        (Rule::ExecFailed, "nowhere found", manager.clone().exited(80, 127, 200), Some(Warning)),
        (Rule::ExecFailed, "found at last", found, None),
        (Rule::ExecFailed, "it still tries", manager, None),
        (Rule::ExecFailed, "a child of the command", child().exited(80, 127, 200), None),
    ]);
}

/// `sh -c 'seq 100 | filter'`, where the filter reads everything and prints nothing.
#[test]
fn the_last_command_of_a_silent_pipeline_is_named() {
    let pipe = object(190);
    let scene =
        managed(&["sh"]).pipe(pipe).command(80, COMMAND, &["seq", "100"], [NULL, pipe, ERR]);
    let scene = scene.command(81, COMMAND, &["filter"], [pipe, OUT, ERR]).exited(COMMAND, 0, 300);
    let scene =
        scene.wrote(80, 1, pipe, write(292)).read_fd(81, 0, pipe, (292, 150)).exited(81, 0, 200);
    let message = scene.exited(80, 0, 120).finding(Rule::NeverWrote).unwrap().message;
    let expected = "sh (pid 71) never wrote to stdout or stderr; filter (pid 81) read 292 B inside it and wrote nothing. \
                    It exited with 0.";
    assert_eq!(message, expected);
}
