//! Streams inside a command, files, relays, blocked calls and buffers: what loses bytes, and what only looks like it.

use tracer_common::{
    ledger::LedgerRow,
    object::{FdState, ObjectId},
};

use super::{scene::*, silence::check};
use crate::{
    event::{BlockedCall, BlockedThread, Event, EventKind, Exit, FileNow, Image},
    text::errno,
    verdict::Severity::{Info, Loss, Warning},
};

const INNER: ObjectId = object(150);
const FILE: ObjectId = object(160);
const SH: [&str; 2] = ["sh", "script"];
const SIGKILL: u32 = 9;

/// A shell with a pipe inside of it, to which a fork of it wrote, and that `sleep` has as its input.
fn forked_writer(read: u64) -> Scene {
    let scene = managed(&SH).pipe(INNER).fork(80, COMMAND).wrote(80, 1, INNER, write(8));
    let scene = scene.command(81, COMMAND, &["sleep", "1"], [INNER, OUT, ERR]);
    let scene = if read > 0 { scene.read(81, INNER, read, 105) } else { scene };
    let scene = scene.exited_with(80, 110, [NULL, INNER, ERR]).closed(81, INNER, 120);
    scene.exited(81, 0, 120).exited(COMMAND, 0, 130)
}

#[test]
fn a_fork_without_a_program_is_judged_like_a_command() {
    check(vec![
        (Rule::Unread, "the reader read nothing", forked_writer(0), Some(Loss)),
        (Rule::Unread, "the reader had enough", forked_writer(3), None),
    ]);
    let message = forked_writer(0).finding(Rule::Unread).unwrap().message;
    assert!(message.starts_with("sh script (pid 80) wrote 8 B to stdout"), "{message}");
}

#[test]
fn a_device_is_told_apart_by_the_fd() {
    let given = |stdio| managed(&["sh"]).command(80, MANAGER, &SH, stdio);
    let quiet = || given([NULL, OUT, NULL]).wrote(80, 1, NULL, write(7));
    check(vec![
        (Rule::Discarded, ">/dev/null inside, 2>/dev/null outside", quiet(), Some(Warning)),
        (Rule::OtherStream, ">/dev/null inside, 2>/dev/null outside", quiet(), None),
        (
            Rule::Discarded,
            "stderr to /dev/null beside output",
            given([NULL, OUT, NULL]).wrote(80, 2, NULL, write(7)).wrote(80, 1, OUT, write(9)),
            Some(Info),
        ),
    ]);
    let message = quiet().finding(Rule::Discarded).unwrap().message;
    assert!(message.contains("redirected all its output to /dev/null: 7 B"), "{message}");
}

/// A command whose stdout is a file, with the state of the file at the end.
fn into_file(written: u64, size: u64) -> Scene {
    let scene = managed(&["sh"]).file(FILE, "/var/log/x");
    let scene = scene.command(80, MANAGER, &SH, [NULL, FILE, ERR]);
    scene.wrote(80, 1, FILE, write(written)).exited(80, 0, 200).found(FILE, FileNow::Same, size)
}

impl Scene {
    pub(super) fn found(self, object: ObjectId, now: FileNow, size: u64) -> Self {
        self.also(9_000, EventKind::File { object, now, size, renamed: String::new() })
    }

    fn removed(self, tgid: u32, file: ObjectId, ms: u64) -> Self {
        let mut exit = Exit { process: id(tgid), removed: [0, 1, 0], ..Exit::default() };
        exit.stdio[1].object = file;
        self.also(ms, EventKind::Exit(exit))
    }

    pub(super) fn also(mut self, ms: u64, kind: EventKind) -> Self {
        self.0.apply(&Event { time_ns: at(ms), kind });
        self
    }
}

#[test]
fn a_file_has_books() {
    let other = |ms| into_file(90, 60).wrote(82, 1, FILE, written_at(30, ms));
    let removed = || into_file(90, 90).removed(80, FILE, 200);
    check(vec![
        (Rule::FileLost, "all is there", into_file(90, 90), None),
        (Rule::FileLost, "cut", into_file(90, 60), Some(Loss)),
        (Rule::FileLost, "two writers", other(150), Some(Loss)),
        (Rule::FileLost, "removed", removed(), Some(Loss)),
        (Rule::FileLost, "removed after it was read", removed().read(30, FILE, 90, 150), None),
        (Rule::Delivered, "cut", into_file(90, 60), None),
        (Rule::Delivered, "all is there", into_file(90, 90), Some(Info)),
    ]);
}

#[test]
fn a_file_that_was_removed_or_renamed_names_who_and_where() {
    let removed = || into_file(90, 90).removed(80, FILE, 200);
    let by = |ms: u32, argv: &[&str]| {
        let scene = removed().command(ms, MANAGER, argv, [NULL, OUT, ERR]);
        scene.exited(ms, 0, 195).finding(Rule::FileLost).unwrap().message
    };
    let message = by(90, &["rm", "-f", "../log/x"]);
    assert!(message.contains("was removed, probably by rm -f ../log/x (pid 90)"), "{message}");
    for argv in [&["rm", "-f", "y"][..], &["cat", "x"]] {
        assert!(by(90, argv).contains("was removed: 90 B"), "{argv:?}");
    }
    let renamed = into_file(90, 90).also(
        9_500,
        EventKind::File {
            object: FILE,
            now: FileNow::Gone,
            size: 90,
            renamed: "/var/log/x.1".into(),
        },
    );
    let message = renamed.finding(Rule::Delivered).unwrap().message;
    assert!(message.contains("into the file /var/log/x, which is /var/log/x.1 now"), "{message}");
    check(vec![(Rule::FileLost, "renamed", renamed, None)]);
}

#[test]
fn a_file_that_a_command_writes_again_and_again_is_no_loss() {
    let jobs = |end| {
        let scene =
            managed(&SH).file(FILE, "/tmp/beat").command(80, COMMAND, &["a"], [NULL, FILE, ERR]);
        let scene = scene.wrote(80, 1, FILE, written_at(30, 100)).exited(80, 0, end);
        let scene = scene.command(81, COMMAND, &["b"], [NULL, FILE, ERR]);
        scene.wrote(81, 1, FILE, written_at(20, 200)).exited(81, 0, 210).found(
            FILE,
            FileNow::Same,
            20,
        )
    };
    check(vec![
        (Rule::FileLost, "one after the other", jobs(150), None),
        (Rule::FileLost, "the first one still had it open", jobs(300), Some(Loss)),
    ]);
}

/// `tail` as the next command of a pipeline: it has read all, and wrote `passed_on`.
fn tail(status: u32, passed_on: u64) -> Scene {
    let scene = managed(&SH).pipe(INNER).command(80, COMMAND, &["seq"], [NULL, INNER, ERR]);
    let scene = scene.wrote(80, 1, INNER, write(90)).exited(80, 0, 110);
    let scene =
        scene.command(81, COMMAND, &["tail"], [INNER, OUT, ERR]).read_fd(81, 0, INNER, (90, 120));
    scene
        .wrote(81, 1, OUT, LedgerRow { bytes: passed_on, ..written_at(0, 130) })
        .ended(81, status, 140)
}

#[test]
fn a_relay_has_books() {
    let offline = || tail(0, 0).connect_failed(81, errno::ENOENT, "/dev/log");
    let cache = || tail(0, 0).connect_failed(81, errno::ENOENT, "/var/run/nscd/socket");
    check(vec![
        (Rule::KeptBack, "killed before it wrote", tail(SIGKILL, 0), Some(Loss)),
        (Rule::KeptBack, "killed after it wrote all", tail(SIGKILL, 90), None),
        (Rule::KeptBack, "killed in the middle", tail(SIGKILL, 40), Some(Warning)),
        (Rule::KeptBack, "a filter that a user ended in the middle", tail(15, 40), None),
        (Rule::KeptBack, "a filter that a user ended", tail(15, 0), Some(Warning)),
        (Rule::KeptBack, "it wanted to print nothing", tail(0, 0), None),
        (Rule::KeptBack, "it had no place to pass bytes on to", offline(), Some(Loss)),
        (Rule::KeptBack, "a cache that libraries do not need", cache(), None),
    ]);
    let part = tail(SIGKILL, 40).finding(Rule::KeptBack).unwrap().message;
    assert!(part.contains("wrote only 40 B, so at least 50 B were not passed on"), "{part}");
}

#[test]
fn the_advice_belongs_to_the_reason() {
    let next = |scene: Scene| {
        let scene = scene.command(82, COMMAND, &["sort"], [INNER, OUT, ERR]);
        scene.read_fd(82, 0, INNER, (0, 150)).exited(82, 0, 160)
    };
    let refused = || tail(0, 0).connect_failed(81, errno::ENOENT, "/run/relay");
    for (name, scene, reason, advice) in [
        ("killed", tail(SIGKILL, 0), "was killed by SIGKILL (9)", "Find out who killed it"),
        ("offline", refused(), "could not connect", "Start what listens"),
        ("offline, and one after it starves", next(refused()), "could not connect", "Start what"),
        ("one after it starves", next(tail(0, 40)), "got nothing", "Let it read no more"),
        ("a user ended it later", next(tail(15, 40)), "got nothing", "Let it read no more"),
    ] {
        let finding = scene.finding(Rule::KeptBack).unwrap();
        assert!(finding.message.contains(reason), "{name}: {}", finding.message);
        assert!(finding.advice.as_ref().unwrap().starts_with(advice), "{name}: {finding:?}");
    }
}

/// `seq | { head; NEXT; }`: a shell starts head, and then becomes what reads next at `became_ms`, or did so before.
fn in_place(passed_on: u64, stdout: ObjectId, became_ms: u64) -> Scene {
    let scene = managed(&SH).pipe(INNER).command(80, COMMAND, &["seq"], [NULL, INNER, ERR]);
    let scene = scene.wrote(80, 1, INNER, write(90)).exited(80, 0, 110).fork(81, COMMAND);
    let scene =
        scene.command(90, 81, &["head"], [INNER, OUT, ERR]).read_fd(90, 0, INNER, (90, 120));
    let row = LedgerRow { bytes: passed_on, ..written_at(0, 130) };
    let scene = scene.wrote(90, 1, OUT, row).exited(90, 0, 135);
    let (process, executed, argv) = (id(81), true, vec!["sort".to_owned()]);
    let stdio = [INNER, stdout, ERR].map(|object| FdState { object, ..FdState::default() });
    let image = Image { process, executed, comm: "sort".into(), argv, stdio, ..Image::default() };
    let scene = scene.also(became_ms, EventKind::Image(image));
    scene.read_fd(81, 0, INNER, (0, 150)).exited(81, 0, 160)
}

#[test]
fn a_shell_that_becomes_the_next_reader_got_nothing() {
    let beside = |stdout| {
        let scene = tail(0, 40).command(82, COMMAND, &["cat"], [INNER, stdout, ERR]);
        scene.read_fd(82, 0, INNER, (0, 150)).exited(82, 0, 160)
    };
    check(vec![
        (Rule::KeptBack, "`{ head -1; sort; }` of dash", in_place(9, OUT, 140), Some(Warning)),
        (Rule::KeptBack, "`{ grep -q x; sort; }` of dash", in_place(0, OUT, 140), Some(Loss)),
        (Rule::KeptBack, "`{ cat; sort; }`", in_place(90, OUT, 140), None),
        (Rule::KeptBack, "`{ head -1; cat >/dev/null; }` of dash", in_place(9, NULL, 140), None),
        (Rule::KeptBack, "the same of bash", beside(NULL), None),
        (Rule::KeptBack, "`{ head -1; cat; }` of bash", beside(OUT), Some(Warning)),
        (Rule::KeptBack, "a program that starts head itself", in_place(9, OUT, 85), None),
    ]);
    // One that drains is not all: another one after it wanted the bytes.
    let both = beside(NULL).command(83, COMMAND, &["wc"], [INNER, OUT, ERR]);
    let both = both.read_fd(83, 0, INNER, (0, 170)).exited(83, 0, 180);
    let message = both.finding(Rule::KeptBack).unwrap().message;
    assert!(message.ends_with("wc (pid 83), which reads after it, got nothing."), "{message}");
}

#[test]
fn what_a_process_waits_for_explains_its_silence() {
    let attached = || managed(&["manager"]).adopted(40, "seq", [NULL, INNER, INNER]).pipe(INNER);
    let stuck = || attached().blocked(40, BlockedCall::Write, 1, INNER);
    let opening = |opens_fifo| {
        let (process, call, path) = (id(40), BlockedCall::Open, "log".to_owned());
        let thread = BlockedThread { process, call, path, opens_fifo, ..BlockedThread::default() };
        attached().also(9_000, EventKind::BlockedThread(thread))
    };
    check(vec![
        (Rule::Stuck, "asleep in a write since before the trace", stuck(), Some(Warning)),
        (Rule::BlockedOpen, "asleep in an open", opening(true), Some(Warning)),
        (Rule::BlockedOpen, "another file may take its time", opening(false), None),
        (
            Rule::Stopped,
            "stopped",
            stuck().blocked(40, BlockedCall::Stopped, -1, INNER),
            Some(Warning),
        ),
        (Rule::Stopped, "not stopped", stuck(), None),
    ]);
}

#[test]
fn a_buffer_dies_with_its_process() {
    let python = |status| {
        let scene = managed(&["python3", "slow.py"]).asked_terminal(COMMAND, 1, 25);
        scene.ended(COMMAND, status, 500)
    };
    let blocks = |bytes, calls| {
        let row = LedgerRow { calls, ..write(bytes) };
        let scene = managed(&["report"]).asked_terminal(COMMAND, 1, 25);
        scene.wrote(COMMAND, 1, OUT, row).read(MANAGER, OUT, bytes, 110)
    };
    let c = |status| managed(&["solver"]).prepared_to_print(COMMAND).ended(COMMAND, status, 500);
    let printed = |bytes, calls| {
        let row = LedgerRow { calls, ..write(bytes) };
        let scene = managed(&["solver"]).prepared_to_print(COMMAND);
        scene.wrote(COMMAND, 1, OUT, row).read(MANAGER, OUT, bytes, 110).ended(COMMAND, 11, 500)
    };
    check(vec![
        (Rule::Unflushed, "a C program aborts", c(6), Some(Warning)),
        (Rule::Unflushed, "a C program has no CPU time left", c(24), Some(Warning)),
        (Rule::Unflushed, "a C program crashes after full blocks", printed(8192, 2), Some(Warning)),
        (Rule::Unflushed, "a C program crashes after a rest", printed(8200, 3), None),
        (Rule::Unflushed, "a user ends a filter that had no line", c(15), None),
        (Rule::Unflushed, "a filter has no line", c(0), None),
        (
            Rule::Unflushed,
            "it crashes before it prints",
            managed(&["solver"]).ended(COMMAND, 11, 500),
            None,
        ),
        (Rule::Unflushed, "killed, and stdout is no terminal", python(15), Some(Warning)),
        (Rule::Unflushed, "it ended by itself", python(0), None),
        (Rule::Unflushed, "the reader was gone", python(13), None),
        (
            Rule::Unflushed,
            "killed after full blocks",
            blocks(8192, 2).ended(COMMAND, 9, 500),
            Some(Warning),
        ),
        (Rule::Unflushed, "killed after a rest", blocks(8200, 3).ended(COMMAND, 9, 500), None),
    ]);
}

#[test]
fn a_process_has_the_name_that_it_had_when_it_wrote() {
    let scene = managed(&SH).pipe(INNER).command(81, COMMAND, &["sleep", "1"], [INNER, OUT, ERR]);
    let scene = scene.wrote(COMMAND, 1, INNER, written_at(10, 100));
    let (process, argv) = (id(COMMAND), vec!["sleep".to_owned(), "9".to_owned()]);
    let image = Image { process, executed: true, comm: "sleep".into(), argv, ..Image::default() };
    let scene = scene.also(110, EventKind::Image(image));
    let scene = scene.closed(81, INNER, 120).exited(81, 0, 120).exited(COMMAND, 0, 130);
    let message = scene.finding(Rule::Unread).unwrap().message;
    assert!(message.starts_with("sh script (pid 71) wrote 10 B"), "{message}");
}

/// `sh` discards 99 bytes, and executes another program, which writes to stdout.
#[test]
fn a_wrapper_that_executes_a_program_is_not_named_for_what_that_wrote() {
    let scene = managed(&SH).wrote(COMMAND, 2, NULL, written_at(99, 100));
    let (process, argv) = (id(COMMAND), vec!["report".to_owned()]);
    let image = Image { process, executed: true, comm: "report".into(), argv, ..Image::default() };
    let scene = scene.also(110, EventKind::Image(image));
    let scene = scene.wrote(COMMAND, 1, OUT, written_at(10, 120)).exited(COMMAND, 0, 130);
    let message = scene.closed(MANAGER, OUT, 140).finding(Rule::Unread).unwrap().message;
    assert!(message.starts_with("report (pid 71) wrote 10 B"), "{message}");
}

/// A manager that reads under another name than that under which it closes.
#[test]
fn the_process_that_closes_has_the_name_that_it_had_then() {
    let scene = managed(&SH).pipe(INNER).command(81, COMMAND, &["work"], [NULL, INNER, ERR]);
    let scene = scene.command(82, COMMAND, &["sh", "wrapper"], [INNER, OUT, ERR]);
    let scene = scene.read(82, FILE, 5, 100);
    let image =
        Image { process: id(82), executed: true, comm: "consumer".into(), ..Image::default() };
    let scene = scene.also(110, EventKind::Image(image)).wrote(81, 1, INNER, written_at(10, 120));
    let scene = scene.exited(81, 0, 130).closed(82, INNER, 140).exited(82, 0, 150);
    let message = scene.exited(COMMAND, 0, 160).finding(Rule::Unread).unwrap().message;
    assert!(message.contains("consumer (pid 82) closed its read end"), "{message}");
}

/// `sh` reads a line, and executes `sleep` with the pipe still open.
#[test]
fn a_reader_that_executes_another_program_has_the_name_under_which_it_read() {
    let scene = managed(&SH).pipe(INNER).command(81, COMMAND, &["work"], [NULL, INNER, ERR]);
    let scene = scene.command(82, COMMAND, &["sh", "log"], [INNER, OUT, ERR]);
    let scene = scene.wrote(81, 1, INNER, written_at(10, 90)).read(82, INNER, 4, 80);
    let scene = scene.exec(82, &["sleep", "9"], [INNER, OUT, ERR]).exited(81, 0, 130);
    let scene = scene.closed(82, INNER, 140).exited(82, 1, 150).exited(COMMAND, 0, 160);
    let message = scene.finding(Rule::Unread).unwrap().message;
    assert!(message.contains("sh (pid 82) ended with its read end open"), "{message}");
}

/// A wrapper warns on stderr and executes the program, whose stdout is left unread.
#[test]
fn a_wrapper_that_warns_is_not_named_for_the_stdout_of_its_program() {
    let scene = managed(&SH).wrote(COMMAND, 2, ERR, written_at(99, 60));
    let scene = scene.exec(COMMAND, &["report"], [NULL, OUT, ERR]).read(MANAGER, ERR, 99, 115);
    let scene = scene.wrote(COMMAND, 1, OUT, written_at(10, 120)).exited(COMMAND, 0, 130);
    let message = scene.closed(MANAGER, OUT, 140).finding(Rule::Unread).unwrap().message;
    assert!(message.starts_with("report (pid 71) wrote 10 B"), "{message}");
}

/// `env` probes with its messages in `/dev/null`, and executes the program, whose stdout arrives.
#[test]
fn the_program_that_a_wrapper_executes_is_named_for_what_arrived() {
    let scene = managed(&["env", "report"]).wrote(COMMAND, 1, NULL, written_at(99, 60));
    let scene = scene.exec(COMMAND, &["report"], [NULL, OUT, ERR]);
    let scene = scene.wrote(COMMAND, 1, OUT, written_at(10, 120)).read(MANAGER, OUT, 10, 125);
    let message = scene.exited(COMMAND, 0, 130).finding(Rule::Delivered).unwrap().message;
    assert!(message.starts_with("report (pid 71) wrote 10 B"), "{message}");
}
