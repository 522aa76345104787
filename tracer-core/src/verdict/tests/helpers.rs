//! Helpers that a script starts and ends: their end is no loss, unless something shows that they had output.

use tracer_common::{ledger::LedgerRow, object::ObjectId, op};

use super::{scene::*, silence::check};
use crate::verdict::Severity::{Info, Warning};

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;
const INNER: ObjectId = object(171);
const FILE: ObjectId = object(172);

/// A script starts a silent helper at 80 ms, works, and ends at 500 ms; the helper ends at 400 ms.
fn script(status: u32, stdout: ObjectId) -> Scene {
    let scene = managed(&["sh", "job"]).file(FILE, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["python3", "watch.py"], [NULL, stdout, ERR]);
    let scene = scene.asked_terminal(80, 1, 25);
    scene
        .wrote(COMMAND, 1, OUT, written_at(10, 300))
        .read(MANAGER, OUT, 10, 310)
        .ended(80, status, 400)
}

#[test]
fn a_silent_helper_that_its_starter_ends_had_nothing_to_print() {
    let ends = |code| script(SIGTERM, OUT).exited(COMMAND, code, 500);
    let daemon = |ms| script(SIGTERM, OUT).exited(COMMAND, 0, ms);
    // In the foreground: the shell waits for it from its start on, and passes its end on.
    let foreground = managed(&["sh", "-c", "a; b"]).command(80, COMMAND, &["b"], [NULL, OUT, ERR]);
    let foreground = foreground.asked_terminal(80, 1, 25).ended(80, SIGTERM, 400);
    let beside = foreground.clone().command(120, COMMAND, &["sleep", "1"], [NULL, OUT, ERR]);
    check(vec![
        (Rule::Unflushed, "the script succeeded", ends(0), Some(Info)),
        (Rule::Unflushed, "`kill $pid; wait $pid`", ends(143), Some(Info)),
        (
            Rule::Unflushed,
            "the same; another program ran",
            beside.exited(COMMAND, 143, 401),
            Some(Info),
        ),
        (Rule::Unflushed, "in the foreground", foreground.exited(COMMAND, 143, 401), Some(Warning)),
        (Rule::Unflushed, "`timeout` fails", ends(124), Some(Warning)),
        (Rule::Unflushed, "no user", script(SIGKILL, OUT).exited(COMMAND, 0, 500), Some(Warning)),
        (
            Rule::Unflushed,
            "a log of its own",
            script(SIGTERM, FILE).exited(COMMAND, 0, 500),
            Some(Warning),
        ),
        (Rule::Unflushed, "`trap 'kill $pid' EXIT`", daemon(399), Some(Info)),
        (Rule::Unflushed, "a daemon that is ended later", daemon(150), Some(Warning)),
        (Rule::Unflushed, "it ended by itself", script(0, OUT).exited(COMMAND, 0, 450), None),
    ]);
    let judged = ends(0).judged();
    assert_eq!(judged[0].rule, Rule::Delivered, "{judged:#?}");
    assert_eq!(
        ends(0).finding(Rule::Unflushed).unwrap().message,
        "python3 watch.py (pid 80) wrote nothing to stdout, and it was killed by SIGTERM (15): sh (pid 71), which \
         started it, went on. If it had printed something, that was still in its own buffer, and is gone."
    );
    // A helper explains no silence of the script itself.
    let silent = managed(&["sh"]).command(80, COMMAND, &["python3"], [NULL, OUT, ERR]);
    let silent = silent.asked_terminal(80, 1, 25).ended(80, SIGTERM, 400).exited(COMMAND, 0, 500);
    check(vec![(Rule::NeverWrote, "nothing at all", silent, Some(Warning))]);
}

#[test]
fn blocks_of_whole_lines_are_full_blocks() {
    let wrote = |bytes, calls, asked| {
        let row = LedgerRow { calls, ..write(bytes) };
        let scene =
            managed(&["python3"]).wrote(COMMAND, 1, OUT, row).read(MANAGER, OUT, bytes, 110);
        let scene = if asked { scene.asked_terminal(COMMAND, 1, 25) } else { scene };
        scene.ended(COMMAND, SIGKILL, 500)
    };
    check(vec![
        (Rule::Unflushed, "lines of 11 B", wrote(4 * 8184, 4, true), Some(Warning)),
        (Rule::Unflushed, "lines of 500 B", wrote(3 * 8000, 3, true), Some(Warning)),
        (Rule::Unflushed, "one write shows nothing", wrote(8184, 1, true), None),
        (Rule::Unflushed, "it wrote as it liked", wrote(4 * 6000, 4, true), None),
        (Rule::Unflushed, "more than a buffer", wrote(4 * 8200, 4, true), None),
        (Rule::Unflushed, "it did not look for a terminal", wrote(4 * 8184, 4, false), None),
    ]);
}

#[test]
fn a_reader_of_single_bytes_keeps_nothing() {
    let watchdog = |calls, status| {
        let scene = managed(&["sh", "job"]).pipe(INNER).fork(80, COMMAND);
        let scene = scene.wrote(COMMAND, 1, INNER, written_at(10, 300));
        let scene = scene.read_row(
            80,
            4,
            INNER,
            LedgerRow { calls, ops: 1 << op::READ, ..written_at(10, 310) },
        );
        let scene = scene.wrote(COMMAND, 1, OUT, written_at(7, 350)).read(MANAGER, OUT, 7, 360);
        scene.ended(80, status, 400).exited(COMMAND, 0, 500)
    };
    check(vec![
        (Rule::KeptBack, "`while read`", watchdog(10, SIGTERM), None),
        (Rule::KeptBack, "the same, killed", watchdog(11, SIGKILL), None),
        (Rule::KeptBack, "a filter with a buffer", watchdog(1, SIGTERM), Some(Warning)),
    ]);
}

#[test]
fn a_copy_to_dev_null_is_not_discarded() {
    let tee = |read, wrote| {
        let scene = managed(&["sh", "job"]).pipe(INNER).file(FILE, "/tmp/a");
        let scene = scene.command(75, COMMAND, &["seq", "9"], [NULL, INNER, ERR]);
        let scene = scene.wrote(75, 1, INNER, written_at(18, 90)).exited(75, 0, 95);
        let scene = scene.command(80, COMMAND, &["tee", "a"], [INNER, NULL, ERR]);
        let scene =
            scene.read_fd(80, 0, INNER, (read, 100)).wrote(80, 1, NULL, written_at(18, 110));
        let scene = scene.wrote(80, 3, FILE, written_at(wrote, 110));
        scene.exited(80, 0, 120).exited(COMMAND, 0, 130)
    };
    // Two of them.
    let again = tee(18, 18).command(125, COMMAND, &["tee", "-a", "a"], [INNER, NULL, ERR]);
    let again = again.read_fd(125, 0, INNER, (9, 126)).wrote(125, 1, NULL, written_at(9, 127));
    let again = again.wrote(125, 3, FILE, written_at(9, 127)).exited(125, 0, 128);
    assert_eq!(
        again.finding(Rule::Discarded).unwrap().message,
        "sh job (pid 71) wrote nothing to its own stdout and stderr; the 27 B that went to /dev/null are a copy of \
         what it wrote to other places. It exited with 0."
    );
    // The command itself was started with /dev/null.
    let outer = managed(&["sh"]).pipe(INNER).file(FILE, "/tmp/a");
    let outer = outer.command(80, MANAGER, &["tee", "a"], [INNER, NULL, ERR]);
    let outer = outer.read_fd(80, 0, INNER, (18, 100)).wrote(80, 1, NULL, written_at(18, 110));
    let copied = outer.clone().wrote(80, 3, FILE, written_at(18, 110)).exited(80, 0, 120);
    check(vec![
        (Rule::Discarded, "`tee a >/dev/null`", tee(18, 18), Some(Info)),
        (Rule::Discarded, "`tee a b >/dev/null`", tee(18, 36), Some(Info)),
        (Rule::Discarded, "it wrote less elsewhere", tee(18, 5), Some(Warning)),
        (Rule::Discarded, "it printed something of its own", tee(12, 40), Some(Warning)),
        (Rule::Discarded, "from the start, a copy", copied, Some(Info)),
        (Rule::Discarded, "from the start", outer.exited(80, 0, 120), Some(Warning)),
    ]);
    assert_eq!(
        tee(18, 18).judged()[0].message,
        "tee a (pid 80) wrote all 18 B that it read to other places than its stdout, which goes to /dev/null inside \
         sh job (pid 71). It exited with 0."
    );
}
