//! Writes whose reader had left: who lost what, and what is as meant.

use tracer_common::{
    ledger::{LedgerRow, error},
    object::ObjectId,
    op,
};

use super::{scene::*, silence::check};
use crate::verdict::{
    Finding,
    Severity::{Loss, Warning},
};

const INPUT: ObjectId = object(150);
const COPY: ObjectId = object(151);
const LOG: ObjectId = object(160);
const SH: [&str; 2] = ["sh", "script"];
const SIGPIPE: u32 = 13;

/// A row whose last write found no reader.
fn refused(mut row: LedgerRow, bytes: u64) -> LedgerRow {
    row.errors[error::EPIPE as usize] = 1;
    row.failed = bytes;
    row
}

/// `seq | tee >(head) >log`: how much `tee` read, wrote into the log, and how its pipe ended, with what is left in its input.
fn duplicated(read: u64, logged: u64, pipe: LedgerRow, left: u64) -> Scene {
    let scene = managed(&SH).pipe(INPUT).pipe(COPY).file(LOG, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["seq", "9"], [NULL, INPUT, ERR]);
    let scene = scene.command(81, COMMAND, &["tee", "/dev/fd/63"], [INPUT, LOG, ERR]);
    let scene = scene.command(82, 81, &["head", "-n1"], [COPY, OUT, ERR]);
    let scene = scene.wrote(80, 1, INPUT, write(read + left)).exited(80, 0, 105);
    let scene = scene.read_fd(81, 0, INPUT, (read, 106)).wrote(81, 3, COPY, pipe);
    let scene = if logged > 0 { scene.wrote(81, 1, LOG, write(logged)) } else { scene };
    let scene = scene.read_fd(82, 0, COPY, (pipe.bytes.min(50), 107)).exited(82, 0, 110);
    scene.ended(81, SIGPIPE, 115).exited(COMMAND, 0, 120)
}

#[test]
fn a_copy_ends_where_the_reader_of_another_one_left() {
    let short = |bytes| LedgerRow { short: 1, ..write(bytes) };
    let loss =
        |scene: Scene| scene.judged().into_iter().find(|found| found.rule == Rule::ReaderGone);
    let before = duplicated(300, 300, refused(write(200), 100), 500);
    let message = loss(before.clone()).unwrap().message;
    assert_eq!(
        message,
        "tee /dev/fd/63 (pid 81) wrote only 300 B into /tmp/log, and at least 500 B more are gone: \
         SIGPIPE ended it when head (pid 82), which read another copy, left."
    );
    check(vec![
        (Rule::ReaderGone, "the copy is written first", before.clone(), Some(Loss)),
        (Rule::Unread, "its writer lost the rest", before, Some(Loss)),
        (
            Rule::ReaderGone,
            "the copy is written last",
            duplicated(300, 200, refused(write(200), 100), 0),
            Some(Loss),
        ),
        (
            Rule::ReaderGone,
            "its last write was cut short",
            duplicated(300, 300, short(250), 40),
            Some(Loss),
        ),
        (
            Rule::ReaderGone,
            "a warning, and a write that was cut short",
            duplicated(300, 17, short(250), 500),
            None,
        ),
        (
            Rule::ReaderGone,
            "all of the input is in the copy",
            duplicated(300, 300, refused(write(200), 100), 0),
            None,
        ),
        (
            Rule::ReaderGone,
            "it wrote something else there",
            duplicated(300, 17, refused(write(200), 100), 500),
            None,
        ),
    ]);
}

#[test]
fn a_filter_that_writes_no_copy_ends_with_its_reader_as_meant() {
    let filter = || duplicated(300, 0, refused(write(200), 100), 500);
    check(vec![
        (Rule::ReaderGone, "no copy", filter(), None),
        (Rule::Unread, "its writer", filter(), None),
    ]);
}

fn message(scene: &Scene, rule: Rule) -> String {
    scene.finding(rule).unwrap_or_else(|| panic!("no {rule}: {:#?}", scene.judged())).message
}

/// A command that writes into a FIFO, of which another one read the first bytes; how both end, and the refused row.
fn into_fifo(row: LedgerRow, status: u32) -> Scene {
    let scene = managed(&SH).fifo(INPUT, "/tmp/ff");
    let scene = scene.command(80, COMMAND, &["job"], [NULL, INPUT, ERR]);
    let scene = scene.command(81, COMMAND, &["reader"], [INPUT, NULL, ERR]);
    let scene = scene.read_fd(81, 0, INPUT, (7, 105)).exited(81, 0, 108);
    scene.wrote(80, 1, INPUT, row).ended(80, status, 600).exited(COMMAND, 0, 610)
}

#[test]
fn a_writer_of_a_fifo_that_goes_on_and_succeeds_was_no_pipeline() {
    let four = LedgerRow { failed: 28, ..with_errors(written_at(7, 500), error::EPIPE, 4) };
    let told = message(&into_fifo(four, 0), Rule::ReaderGone);
    let expected = "job (pid 80) could not write to stdout: reader (pid 81) ended with its read end open 492 ms before \
                    the command ended (EPIPE, 28 B in 4 writes refused) after 7 B had been written.";
    assert!(told.starts_with(expected), "{told}");
    // The script itself writes there, after `exec >fifo`.
    let itself = managed(&SH).fifo(INPUT, "/tmp/ff").wrote(COMMAND, 1, INPUT, four);
    let itself = itself.command(81, COMMAND, &["reader"], [INPUT, NULL, ERR]);
    let itself = itself.read_fd(81, 0, INPUT, (7, 105)).exited(81, 0, 108);
    let itself = itself.exited_with(COMMAND, 600, [NULL, INPUT, ERR]);
    // A pipe of a pipeline: its last command had enough, whatever its writers do then.
    let piped = managed(&SH).pipe(INPUT).command(80, COMMAND, &["job"], [NULL, INPUT, ERR]);
    let piped = piped.command(81, COMMAND, &["head"], [INPUT, OUT, ERR]);
    let piped = piped.read_fd(81, 0, INPUT, (7, 105)).exited(81, 0, 108);
    let piped = piped.wrote(80, 1, INPUT, four).exited(80, 0, 600).exited(COMMAND, 0, 610);
    check(vec![
        (Rule::ReaderGone, "redirected by the command itself", itself, Some(Loss)),
        (Rule::ReaderGone, "SIGPIPE ended it", into_fifo(four, SIGPIPE), None),
        (Rule::ReaderGone, "it complained", into_fifo(four, 1 << 8), None),
        (Rule::ReaderGone, "a pipeline", piped, None),
    ]);
}

#[test]
fn a_socket_that_a_command_redirected_its_output_to_is_no_aside() {
    let socket = |row| {
        let scene = managed(&SH).socket(INPUT, 2, [127, 0, 0, 1], ObjectId::NONE);
        scene.wrote(COMMAND, 1, INPUT, row).exited_with(COMMAND, 600, [NULL, INPUT, ERR])
    };
    check(vec![
        (Rule::ReaderGone, "refused", socket(refused(write(14), 7)), Some(Loss)),
        (Rule::ReaderGone, "all accepted", socket(write(14)), None),
    ]);
}

/// A shell's builtin writes to an fd of its own (`echo ready >&3`), whose reader takes one byte and closes it.
fn aside(read: u64, stdout_at_end: ObjectId) -> Scene {
    let scene = managed(&["manager"]).pipe(INPUT).pipe(COPY);
    let scene = scene.command(80, COMMAND, &["service"], [NULL, COPY, ERR]);
    let scene = scene.wrote(80, 1, INPUT, refused(written_at(1, 140), 5));
    let scene = if read > 0 { scene.read(COMMAND, INPUT, read, 105) } else { scene };
    let scene = scene.closed(COMMAND, INPUT, 110);
    scene.exited_with(80, 150, [NULL, stdout_at_end, ERR]).exited(COMMAND, 0, 160)
}

#[test]
fn a_pipe_that_is_no_stream_of_its_writer_is_called_by_its_name() {
    check(vec![
        (Rule::ReaderGone, "its reader took a byte", aside(1, COPY), None),
        (Rule::ReaderGone, "its reader took none", aside(0, COPY), Some(Loss)),
        (Rule::ReaderGone, "it is its stdout in the end", aside(1, INPUT), Some(Loss)),
    ]);
    for (scene, name) in [(aside(0, COPY), "pipe:[150]"), (aside(0, INPUT), "stdout")] {
        let told = message(&scene, Rule::ReaderGone);
        assert!(told.contains(&format!("could not write to {name}: ")), "{told}");
    }
}

/// Adds the second command of a pipeline.
type Second = fn(Scene) -> Scene;

/// A pipeline whose second command is a fork of the shell that ends with 127, or a program without a stdin. The shell, or
/// that fork, closes the read end at 95 ms.
fn unstarted(second: Second) -> Scene {
    let scene = managed(&SH).pipe(INPUT).command(80, COMMAND, &["seq", "9"], [NULL, INPUT, ERR]);
    let scene = second(scene).wrote(80, 1, INPUT, refused(LedgerRow::ZERO, 18));
    scene.ended(80, SIGPIPE, 400).exited(COMMAND, 0, 500)
}

#[test]
fn the_command_that_should_have_read_is_named_and_not_the_shell() {
    let late = |row: LedgerRow| LedgerRow { first_ns: at(100), last_ns: at(100), ..row };
    let not_found =
        |scene: Scene| scene.closed(COMMAND, INPUT, 95).fork(81, COMMAND).exited(81, 127, 94);
    let by_itself =
        |scene: Scene| scene.fork(81, COMMAND).closed(81, INPUT, 95).exited(81, 127, 96);
    let closed = |scene: Scene| {
        let stdio = [ObjectId::NONE, OUT, ERR];
        scene.closed(COMMAND, INPUT, 95).command(81, COMMAND, &["wc", "-l"], stdio)
    };
    let other = |scene: Scene| {
        scene.closed(COMMAND, INPUT, 95).command(81, COMMAND, &["wc", "-l"], [NULL, OUT, ERR])
    };
    let first_another = |scene: Scene| {
        let scene = scene
            .fork(81, COMMAND)
            .command(90, 81, &["sleep"], [INPUT, OUT, ERR])
            .exited(90, 0, 96);
        scene.exec(81, &["logger"], [INPUT, OUT, ERR]).exited(81, 1, 97)
    };
    let expected: [(Second, &str); 5] = [
        (first_another, "logger (pid 81) ended with its read end open"),
        (not_found, "sh (pid 81) should read it and ended with exit code 127: "),
        (by_itself, "sh (pid 81) closed its read end"),
        (closed, "wc (pid 81) was started with its stdin closed (EPIPE, 18 B refused)"),
        (other, "sh (pid 71) closed its read end"),
    ];
    for (second, why) in expected {
        let mut scene = unstarted(second);
        scene.0.ledger.values_mut().for_each(|row| *row = late(*row));
        let told = message(&scene, Rule::ReaderGone);
        assert!(told.contains(&format!("could not write to stdout: {why}")), "{told}");
    }
}

#[test]
fn a_close_after_the_last_write_refused_nothing() {
    let socket = |closed_ms| {
        let scene = managed(&SH).socket(INPUT, 1, [0; 4], COPY).socket(COPY, 1, [0; 4], INPUT);
        let scene = scene.command(80, COMMAND, &["job"], [NULL, INPUT, ERR]);
        let scene = scene.wrote(80, 1, INPUT, refused(written_at(4, 300), 10)).exited(80, 0, 500);
        scene.read(COMMAND, COPY, 4, 110).closed(COMMAND, COPY, closed_ms)
    };
    for (closed_ms, why) in [
        (
            200,
            "sh (pid 71) closed its read end 300 ms before the command ended (EPIPE, 10 B refused)",
        ),
        (600, "socket:[150] had been shut down before (shutdown(2)) (EPIPE, 10 B refused)"),
    ] {
        let told = message(&socket(closed_ms).exited(COMMAND, 0, 900), Rule::ReaderGone);
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn what_a_datagram_socket_refused_is_counted_message_by_message() {
    let row = LedgerRow {
        refused: 3_220,
        last_refused: 10,
        ..with_errors(write(90), error::EAGAIN, 322)
    };
    let told = |kind| {
        let mut scene = managed(&SH).socket(INPUT, 1, [0; 4], COPY).socket(COPY, 1, [0; 4], INPUT);
        scene.0.objects.get_mut(&INPUT).unwrap().socket.kind = kind;
        let scene =
            scene.command(80, COMMAND, &["job"], [NULL, INPUT, ERR]).wrote(80, 1, INPUT, row);
        message(&scene.exited(80, 0, 500).exited(COMMAND, 0, 900), Rule::Refused)
    };
    for (kind, amount) in
        [(2, "322 writes (3,220 B) to"), (1, "322 writes (3,220 B in all, the last 10 B ")]
    {
        let told = told(kind);
        assert!(told.contains(amount) && told.contains("the socket was full"), "{told}");
    }
}

/// Two commands share a pipe, of which 12 B are left. The first one wrote 11 B; the second one before and after it.
fn shared(first_ms: u64, window_bytes: u64) -> Scene {
    const SECOND_MS: u64 = 900;
    let scene = managed(&SH).pipe(INPUT);
    let scene = scene.command(80, COMMAND, &["quick"], [NULL, INPUT, ERR]);
    let scene = scene.command(81, COMMAND, &["slow"], [NULL, INPUT, ERR]);
    let mut slow = LedgerRow { first_ns: at(90), calls: 2, ..written_at(23, SECOND_MS) };
    slow.window = slow.last_ns >> tracer_common::ledger::WINDOW_SHIFT;
    slow.before_window = 23 - window_bytes;
    let scene = scene.wrote(80, 1, INPUT, written_at(11, first_ms)).exited(80, 0, first_ms + 10);
    let scene = scene.wrote(81, 1, INPUT, slow).exited(81, 0, 910);
    let scene = scene.read(COMMAND, INPUT, 22, 300).closed(COMMAND, INPUT, 950);
    scene.inside(INPUT, 12, 940).exited(COMMAND, 0, 960)
}

#[test]
fn bytes_that_are_left_are_of_those_who_wrote_last() {
    let named = |scene: &Scene| {
        let found = scene.judged().into_iter().filter(|found: &Finding| found.rule == Rule::Unread);
        found.map(|found| found.pid).collect::<Vec<_>>()
    };
    assert_eq!(named(&shared(200, 12)), [81]);
    // It may have written last, or the other one fewer bytes after it.
    assert_eq!(named(&shared(899, 12)), [80, 81]);
    assert_eq!(named(&shared(200, 11)), [80, 81]);
}

/// A relay inside the command that read 90 B, with a call by which it copied the first 60 B from fd to fd: the file came
/// under watch only then.
fn relay(ops: u32) -> Scene {
    let scene = managed(&["relay"]).pipe(INPUT).file(LOG, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["job"], [NULL, INPUT, ERR]);
    let scene = scene.wrote(80, 1, INPUT, write(90)).exited(80, 0, 105);
    let mut scene = scene.read(COMMAND, INPUT, 90, 110);
    let by_copy =
        |row: &mut LedgerRow| row.ops = if row.ops & 1 << op::READ != 0 { ops } else { row.ops };
    scene.0.ledger.values_mut().for_each(by_copy);
    let scene = scene.wrote(COMMAND, 6, LOG, LedgerRow { ops, ..written_at(30, 120) });
    let mut scene = scene.exited(COMMAND, 0, 130).read(MANAGER, ERR, 0, 140);
    scene.0.processes.get_mut(&id(COMMAND)).unwrap().other_bytes = Some(60);
    scene.0.objects.get_mut(&NULL).unwrap().hop = 1;
    scene
}

#[test]
fn a_relay_that_copies_from_fd_to_fd_wrote_what_its_first_call_read() {
    let less = |ops| message(&relay(ops), Rule::Delivered).contains("wrote 30 B in all, 60 B less");
    assert!(less(1 << op::READ));
    assert!(!less(1 << op::SPLICE) && !less(1 << op::SENDFILE));
}

#[test]
fn what_a_late_process_was_refused_is_told() {
    let late = |row: LedgerRow, status| {
        let scene = managed(&["job"]).wrote(COMMAND, 1, OUT, write(3)).read(60, OUT, 3, 110);
        let scene = scene.fork(80, COMMAND).exited(COMMAND, 0, 150).exited(60, 0, 160);
        scene.wrote(80, 1, OUT, row).ended(80, status, 900)
    };
    let row = LedgerRow { first_ns: at(600), last_ns: at(600), ..refused(LedgerRow::ZERO, 22) };
    let says = ", and 22 B that it wrote then were refused (EPIPE): the stream ended";
    assert!(message(&late(row, 0), Rule::LateWriter).contains(says));
    for (row, status) in [(row, SIGPIPE), (written_at(5, 600), 0)] {
        assert!(!message(&late(row, status), Rule::LateWriter).contains("refused"));
    }
}

#[test]
fn a_command_that_ends_with_another_stdout_wrote_nothing_to_its_first_one() {
    let told = |stdout| {
        let scene = managed(&["job"]).pipe(INPUT).wrote(COMMAND, 1, INPUT, write(1));
        let scene = scene.read(COMMAND, INPUT, 1, 110);
        message(&scene.exited_with(COMMAND, 130, [NULL, stdout, ERR]), Rule::NeverWrote)
    };
    assert!(told(INPUT).contains("never wrote to the stdout and stderr that it was started with"));
    assert!(told(OUT).contains("never wrote to stdout or stderr"));
}

/// A relay that read 90 B of a command until 300 ms, wrote 7 B of them to another command from `first_ms` on, and was refused
/// the rest when that had ended; how both end.
fn left_relay(first_ms: u64, (relay, reader): (u32, u32), other: u64) -> Scene {
    let scene = managed(&["relay"]).pipe(INPUT).pipe(COPY).file(LOG, "/tmp/log");
    let scene = scene.command(80, COMMAND, &["job"], [NULL, INPUT, ERR]);
    let scene = scene.command(81, COMMAND, &["client"], [COPY, OUT, ERR]);
    let scene = scene.wrote(80, 1, INPUT, written_at(90, 200)).exited(80, 0, 300);
    let scene = scene.read(COMMAND, INPUT, 7, 150).read(COMMAND, INPUT, 83, 300);
    let row = LedgerRow { first_ns: at(first_ms), ..refused(written_at(7, 310), 83) };
    let scene = scene.wrote(COMMAND, 6, COPY, row).wrote(COMMAND, 8, LOG, written_at(other, 320));
    let scene = scene.read_fd(81, 0, COPY, (7, 170)).ended(81, reader, 180);
    let mut scene = scene.ended(COMMAND, relay, 500);
    scene.0.processes.get_mut(&id(COMMAND)).unwrap().other_bytes = Some(0);
    scene
}

#[test]
fn a_relay_that_goes_on_without_its_next_reader_lost_what_it_read() {
    let told = message(&left_relay(160, (0, 1 << 8), 0), Rule::ReaderGone);
    assert_eq!(
        told,
        "relay (pid 71) read 90 B from job (pid 80) and could not pass on 83 B of it: client (pid 81) ended with its read \
         end open 320 ms before the command ended (EPIPE, 83 B refused), and it went on. It exited with 0."
    );
    let mut drained = left_relay(160, (0, 1 << 8), 0);
    drained.0.ledger.values_mut().for_each(|row| row.failed = row.failed.min(10));
    check(vec![
        (Rule::ReaderGone, "it did not try to pass on all of it", drained, None),
        (Rule::ReaderGone, "its reader failed", left_relay(160, (0, 1 << 8), 0), Some(Loss)),
        (Rule::ReaderGone, "it had enough", left_relay(160, (0, 0), 0), Some(Warning)),
        (Rule::ReaderGone, "it has a copy", left_relay(160, (0, 1 << 8), 83), None),
        (Rule::ReaderGone, "it read all before", left_relay(305, (0, 1 << 8), 0), None),
        (Rule::ReaderGone, "it failed as well", left_relay(160, (1 << 8, 1 << 8), 0), None),
        (Rule::ReaderGone, "SIGPIPE", left_relay(160, (SIGPIPE, 1 << 8), 0), None),
    ]);
}
