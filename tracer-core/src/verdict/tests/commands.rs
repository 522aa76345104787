//! Commands with their streams: where each segment leads, who redirected it, and what became of its bytes.

use tracer_common::{
    event::{self as layout, fact},
    ledger::{LedgerRow, error},
    object::{FdState, ObjectId},
};

use super::scene::*;
use crate::{
    event::{BlockedCall, BlockedThread, Event, EventKind, Exit, FileNow, Image},
    report::{self, Command, StreamSegment},
    verdict::{
        Case, Confidence,
        Outcome::{self, *},
        RedirectedBy::{self, *},
    },
};

const FILE: ObjectId = object(160);
const SH: [&str; 2] = ["sh", "script"];

impl Scene {
    /// Its commands, and how many are left out.
    fn commands(&self) -> (Vec<Command>, u64) {
        report::commands(&Case::new(&self.0), &[1, 2])
    }

    fn command_of(&self, pid: u32) -> Command {
        let (commands, _) = self.commands();
        let found = commands.iter().find(|command| command.pid == pid);
        found.unwrap_or_else(|| panic!("no command: {commands:#?}")).clone()
    }

    /// Segments of stdout (1) or stderr (2).
    fn segments(&self, pid: u32, stream: usize) -> Vec<StreamSegment> {
        self.command_of(pid).streams[stream - 1].segments.clone()
    }

    /// fd, object, who redirected it, its own bytes, and the outcome of each segment.
    fn told(&self, pid: u32, stream: usize) -> Vec<Told> {
        let name = |segment: &StreamSegment| {
            let names = [("OUT", OUT), ("ERR", ERR), ("NULL", NULL), ("FILE", FILE)];
            let is = |(_, id): &&(&str, ObjectId)| self.0.object_name(id) == segment.object;
            names.iter().find(is).map_or("?", |(name, _)| name)
        };
        let told = |it: &StreamSegment| (it.fd, name(it), it.redirected_by, it.bytes, it.outcome);
        self.segments(pid, stream).iter().map(told).collect()
    }

    fn outcomes(&self, pid: u32, stream: usize) -> Vec<Outcome> {
        self.segments(pid, stream).iter().map(|segment| segment.outcome).collect()
    }

    fn then(mut self, ms: u64, kind: EventKind) -> Self {
        self.0.apply(&Event { time_ns: at(ms), kind });
        self
    }

    /// It makes an fd lead to an object (`dup2`).
    fn redirects(self, tgid: u32, fd: i32, object: ObjectId, ms: u64) -> Self {
        let (process, state) = (id(tgid), FdState { object, ..FdState::default() });
        let fact = fact::FD_REPLACED;
        let fact = layout::Fact { process, fact, fd, state, ..layout::Fact::default() };
        self.then(ms, EventKind::Fact { fact, text: Vec::new() })
    }

    /// It replaces its image.
    fn becomes(self, tgid: u32, name: &str, stdio: [ObjectId; 3], ms: u64) -> Self {
        let stdio = stdio.map(|object| FdState { object, ..FdState::default() });
        let (process, comm, argv) = (id(tgid), name.to_owned(), vec![name.to_owned()]);
        let executed = true;
        let image = Image { process, comm, argv, executed, role: 1, stdio, ..Image::default() };
        self.then(ms, EventKind::Image(image))
    }
}

type Told = (i32, &'static str, Option<RedirectedBy>, u64, Outcome);

fn row(bytes: u64, first_ms: u64, last_ms: u64) -> LedgerRow {
    LedgerRow { first_ns: at(first_ms), ..written_at(bytes, last_ms) }
}

/// Failed calls, with the bytes that were refused.
pub(super) fn refused(class: u32, failed: u64) -> LedgerRow {
    with_errors(LedgerRow { calls: 0, failed, ..write(0) }, class, 1)
}

#[test]
fn output_that_was_read_names_its_reader() {
    let scene = wrote_and_read(&["seq", "9"], 18).exited(COMMAND, 3, 200);
    let command = scene.command_of(COMMAND);
    assert_eq!((command.command.as_str(), command.exit.unwrap().code), ("seq 9", Some(3)));
    assert_eq!(scene.told(COMMAND, 1), [(1, "OUT", Some(Launcher), 18, Read)]);
    assert_eq!(scene.told(COMMAND, 2), [(2, "ERR", Some(Launcher), 0, NeverWritten)]);
    let segment = &scene.segments(COMMAND, 1)[0];
    assert_eq!((segment.read_by.as_slice(), segment.since_ms), (&[MANAGER][..], Some(71.0)));
    assert_eq!(segment.confidence, Confidence::Certain);
    let shared = scene.clone().command(80, COMMAND, &["true"], [NULL, OUT, ERR]);
    assert!(shared.segments(80, 1)[0].read_by.is_empty(), "it wrote nothing");
    // The manager ran before, and wrote nothing.
    assert_eq!(scene.commands().0.len(), 1);
}

#[test]
fn fd_1_that_leads_to_the_object_of_stderr_is_stderr() {
    let scene = managed(&SH)
        .wrote(COMMAND, 1, OUT, written_at(3, 100))
        .redirects(COMMAND, 1, ERR, 110)
        .wrote(COMMAND, 1, ERR, written_at(4, 111))
        .redirects(COMMAND, 1, OUT, 112)
        .read(MANAGER, OUT, 3, 120)
        .read(MANAGER, ERR, 4, 120);
    assert_eq!(scene.told(COMMAND, 1), [(1, "OUT", Some(Launcher), 3, Read)]);
    let stderr = [(2, "ERR", Some(Launcher), 0, NeverWritten), (1, "ERR", Some(Itself), 4, Read)];
    assert_eq!(scene.told(COMMAND, 2), stderr);
    assert_eq!(scene.segments(COMMAND, 2)[1].since_ms, Some(110.0));
    // A program that was started so is on stderr as well, and a dup of stdout on stdout.
    let child = scene.command(80, COMMAND, &["ls"], [NULL, ERR, ERR]).wrote(80, 1, ERR, write(7));
    assert_eq!(child.told(80, 1), []);
    assert_eq!(child.told(80, 2)[0].3, 7);
    let third = child.wrote(COMMAND, 3, OUT, written_at(5, 130));
    assert_eq!(third.told(COMMAND, 1)[1], (3, "OUT", Some(Launcher), 5, Unread));
}

#[test]
fn a_device_is_told_apart_by_the_fd() {
    let scene = managed(&SH).command(80, COMMAND, &["ls"], [NULL, NULL, ERR]);
    let scene = scene.wrote(80, 1, NULL, write(7));
    assert_eq!(scene.told(80, 1), [(1, "NULL", Some(Launcher), 7, Discarded)]);
    assert_eq!(scene.told(80, 2), [(2, "ERR", Some(Inherited), 0, NeverWritten)]);
    // stderr is /dev/null from the start, and stdout was redirected there.
    let scene = scene.command(81, COMMAND, &["ls"], [NULL, OUT, NULL]);
    let scene = scene.redirects(81, 1, NULL, 95).wrote(81, 1, NULL, write(5));
    let stdout =
        [(1, "OUT", Some(Inherited), 0, NeverWritten), (1, "NULL", Some(Itself), 5, Discarded)];
    assert_eq!(scene.told(81, 1), stdout);
    assert_eq!(scene.told(81, 2), [(2, "NULL", Some(Launcher), 0, NeverWritten)]);
    // What its children wrote to /dev/null through another fd is no part of it.
    let scene = scene.command(83, COMMAND, &["make"], [NULL, OUT, NULL]);
    let scene = scene.command(84, 83, &["cc"], [NULL, NULL, NULL]).wrote(84, 1, NULL, write(6));
    let started = |scene: &Scene| scene.segments(83, 2)[0].started_bytes;
    assert_eq!((started(&scene), started(&scene.wrote(84, 2, NULL, write(8)))), (0, 8));
}

#[test]
fn each_image_has_its_name_and_the_bytes_that_are_certainly_its_own() {
    let scene = managed(&SH)
        .file(FILE, "/tmp/o")
        .wrote(COMMAND, 1, OUT, written_at(3, 100))
        .redirects(COMMAND, 1, FILE, 150)
        .becomes(COMMAND, "ls", [NULL, FILE, ERR], 160)
        .wrote(COMMAND, 1, FILE, written_at(9, 170))
        .wrote(COMMAND, 2, ERR, row(8, 120, 180));
    let command = scene.command_of(COMMAND);
    let names: Vec<_> = command.images.iter().map(|it| (it.comm.as_str(), it.executed)).collect();
    assert_eq!(names, [("sh", true), ("ls", true)]);
    assert_eq!((command.images[0].start_ms, command.images[1].start_ms), (71.0, 160.0));
    assert_eq!((command.command.as_str(), command.images[0].command.as_str()), ("ls", "sh script"));
    let stdout = scene.segments(COMMAND, 1);
    let images = |segment: &StreamSegment| (segment.first_image, segment.last_image);
    assert_eq!((images(&stdout[0]), images(&stdout[1])), ((Some(0), Some(0)), (Some(1), Some(1))));
    assert_eq!((stdout[1].redirected_by, stdout[1].since_ms), (Some(Itself), Some(150.0)));
    assert_eq!(images(&scene.segments(COMMAND, 2)[0]), (Some(0), Some(1)));
    // The image of the parent, between `fork` and `execve`, is told if it wrote.
    let early = scene.fork(80, COMMAND).wrote(80, 2, ERR, written_at(4, 82));
    let early = early.becomes(80, "cat", [NULL, OUT, ERR], 85);
    let names = early.command_of(80).images.into_iter().map(|it| (it.comm, it.executed));
    assert_eq!(names.collect::<Vec<_>>(), [("sh".to_owned(), false), ("cat".to_owned(), true)]);
    assert_eq!(images(&early.segments(80, 2)[0]), (Some(0), Some(0)));
}

#[test]
fn bytes_in_a_pipe_are_unread() {
    let scene = managed(&SH).wrote(COMMAND, 1, OUT, write(9)).read(MANAGER, OUT, 4, 110);
    let scene = scene.closed(MANAGER, OUT, 150).exited(COMMAND, 0, 200);
    assert_eq!(scene.told(COMMAND, 1), [(1, "OUT", Some(Launcher), 9, Unread)]);
    assert!(scene.finding(Rule::Unread).is_some());
}

#[test]
fn a_file_has_its_bytes_or_lost_them() {
    let into = |size| {
        let scene = managed(&["sh"]).file(FILE, "/var/log/x");
        let scene = scene.command(80, MANAGER, &SH, [NULL, FILE, ERR]);
        let scene = scene.wrote(80, 1, FILE, write(90)).exited(80, 0, 200);
        scene.then(
            9_000,
            EventKind::File { object: FILE, now: FileNow::Same, size, renamed: String::new() },
        )
    };
    let removed = || {
        let mut exit = Exit { process: id(80), removed: [0, 1, 0], ..Exit::default() };
        exit.stdio[1].object = FILE;
        into(90).then(200, EventKind::Exit(exit))
    };
    let other = into(90).wrote(82, 1, FILE, written_at(30, 150));
    for (situation, scene, outcome) in [
        ("all is there", into(90), InFile),
        ("cut", into(60), Cut),
        ("two writers", other, Overwritten),
        ("removed", removed(), Removed),
        ("removed after it was read", removed().read(30, FILE, 90, 150), Read),
    ] {
        assert_eq!(scene.outcomes(80, 1), [outcome], "{situation}");
        let is_loss = matches!(outcome, Cut | Overwritten | Removed);
        assert_eq!(scene.finding(Rule::FileLost).is_some(), is_loss, "{situation}");
    }
}

#[test]
fn refused_bytes_are_counted() {
    let scene = managed(&["sh"]).file(FILE, "/full").command(80, MANAGER, &SH, [NULL, FILE, ERR]);
    let full = |row| scene.clone().wrote(80, 1, FILE, row);
    let mut partly = refused(error::ENOSPC, 70);
    (partly.bytes, partly.calls) = (30, 1);
    let put_off = LedgerRow { refused: 8, last_refused: 8, ..refused(error::EAGAIN, 0) };
    // What the pipe holds is told first, unless its reader is gone.
    let (unread, mut both) = (managed(&SH).wrote(COMMAND, 1, OUT, write(9)), put_off);
    both.bytes = 1;
    let unread = unread.wrote(COMMAND, 1, OUT, both).exited(COMMAND, 0, 300);
    let gone = managed(&SH).wrote(COMMAND, 1, OUT, refused(error::EPIPE, 12));
    for (situation, outcome, bytes, segment) in [
        ("disk full", Refused, 70, full(partly).segments(80, 1)),
        ("reader gone", Refused, 12, gone.segments(COMMAND, 1)),
        ("bytes are left", Unread, 8, unread.segments(COMMAND, 1)),
        ("for the moment", PutOff, 0, full(put_off).segments(80, 1)),
        ("and then it ended", Refused, 8, full(put_off).exited(80, 0, 300).segments(80, 1)),
    ] {
        assert_eq!((segment[0].outcome, segment[0].refused_bytes), (outcome, bytes), "{situation}");
    }
    let closed = scene.clone().command(81, MANAGER, &SH, [NULL, ObjectId::NONE, ERR]);
    let closed = closed.wrote(81, 1, ObjectId::NONE, refused(error::EBADF, 4));
    assert_eq!(
        (closed.outcomes(81, 1), closed.segments(81, 1)[0].kind.as_str()),
        (vec![Refused], "closed")
    );
}

#[test]
fn a_writer_that_sleeps_is_blocked_unless_its_reader_is_at_work() {
    let scene = || managed(&SH).wrote(COMMAND, 1, OUT, write(70)).holds(MANAGER, 5, OUT);
    let blocked = |scene: Scene| scene.blocked(COMMAND, BlockedCall::Write, 1, OUT);
    let stuck = blocked(scene()).inside(OUT, 4096, 10_000);
    assert_eq!(
        (stuck.outcomes(COMMAND, 1), stuck.finding(Rule::Stuck).is_some()),
        (vec![Blocked], true)
    );
    let at_work = blocked(scene().read(MANAGER, OUT, 10, 9_990)).inside(OUT, 60, 10_000);
    assert_eq!((at_work.outcomes(COMMAND, 1), at_work.finding(Rule::Stuck)), (vec![Unread], None));
    // A process that it started, and one that slept already before the trace.
    let child = scene().fork(80, COMMAND).blocked(80, BlockedCall::Write, 1, OUT);
    assert_eq!((child.outcomes(COMMAND, 1), child.outcomes(80, 1)), (vec![Blocked], vec![Blocked]));
    let before = managed(&SH).adopted(40, "seq", [NULL, OUT, ERR]);
    let before = before.blocked(40, BlockedCall::Write, 1, OUT);
    assert_eq!(before.told(40, 1), [(1, "OUT", None, 0, Blocked)]);
}

#[test]
fn silence_is_never_written_asleep_in_an_open_or_not_seen() {
    let silent = || managed(&SH).exited(COMMAND, 0, 200);
    let (call, path) = (BlockedCall::Open, "/tmp/fifo".to_owned());
    let thread = BlockedThread {
        process: id(COMMAND),
        call,
        path,
        opens_fifo: true,
        ..BlockedThread::default()
    };
    let opening = managed(&SH).then(9_000, EventKind::BlockedThread(thread));
    let adopted = managed(&SH).adopted(40, "seq", [NULL, OUT, ERR]).wrote(40, 1, OUT, write(1));
    assert_eq!(silent().outcomes(COMMAND, 1), [NeverWritten]);
    assert_eq!(silent().lost(Reason::RingFull, 1).outcomes(COMMAND, 1), [NotSeen]);
    assert_eq!(adopted.told(40, 2), [(2, "ERR", None, 0, NotSeen)]);
    assert_eq!(adopted.segments(40, 2)[0].since_ms, None);
    assert_eq!(opening.outcomes(COMMAND, 1), [BlockedOpen]);
    assert_eq!(opening.command_of(COMMAND).opening.as_deref(), Some("/tmp/fifo"));
}

#[test]
fn what_a_command_started_counts_apart_from_it() {
    let scene = managed(&SH).file(FILE, "/tmp/o").wrote(COMMAND, 1, OUT, write(3));
    let scene = scene.command(80, COMMAND, &["make"], [NULL, OUT, ERR]);
    let scene = scene.command(81, 80, &["cc"], [NULL, OUT, ERR]).wrote(81, 1, OUT, write(10));
    let scene = scene.wrote(81, 2, ERR, write(20)).wrote(81, 4, ERR, write(1));
    // Into a file that the command above does not have.
    let scene = scene
        .command(82, 80, &["ld"], [NULL, FILE, ERR])
        .wrote(82, 1, FILE, write(40))
        .wrote(82, 2, ERR, write(5));
    let bytes = |pid, stream| {
        let all = scene.segments(pid, stream);
        all.iter().map(|it| (it.fd, it.bytes, it.started_bytes)).collect::<Vec<_>>()
    };
    assert_eq!((bytes(COMMAND, 1), bytes(COMMAND, 2)), (vec![(1, 3, 10)], vec![(2, 0, 26)]));
    assert_eq!((bytes(80, 1), bytes(80, 2)), (vec![(1, 0, 10)], vec![(2, 0, 26)]));
    assert_eq!(bytes(81, 2), [(2, 20, 0), (4, 1, 0)]);
    assert_eq!(bytes(82, 1), [(1, 40, 0)]);
    // A silent command whose child wrote has an outcome.
    assert_eq!(scene.outcomes(80, 1), [Unread]);
}

#[test]
fn lists_are_bounded_and_count_what_they_leave_out() {
    let mut scene = managed(&SH);
    for number in 0..100_u64 {
        let log = object(1_000 + number);
        scene = scene.file(log, &format!("/log/{number}"));
        scene = scene.wrote(COMMAND, 1, log, written_at(1, 200 + number));
    }
    // Its first images are forgotten.
    scene = scene.wrote(COMMAND, 1, OUT, written_at(1, 150));
    for pid in 200..260 {
        scene = scene.read(pid, OUT, u64::from(pid), 150);
    }
    for number in 0..12 {
        scene = scene.becomes(COMMAND, &format!("image{number}"), [NULL, OUT, ERR], 400 + number);
    }
    let command = scene.command_of(COMMAND);
    let stdout = &command.streams[0];
    assert_eq!((stdout.segments.len(), stdout.more_segments), (64, 37));
    assert_eq!((stdout.segments[0].read_by.len(), stdout.segments[0].more_readers), (16, 44));
    assert_eq!((command.images.len(), command.more_images), (9, 5));
    assert_eq!((stdout.segments[0].since_ms, stdout.segments[0].first_image), (Some(150.0), None));
    let long = managed(&["echo", &"ä".repeat(9_000)]).command_of(COMMAND).command;
    assert_eq!((long.chars().count(), long.ends_with('…')), (257, true));
}

#[test]
fn commands_with_trouble_are_kept_first() {
    let mut scene = managed(&SH);
    for pid in 1_000..3_000 {
        scene = scene.command(pid, COMMAND, &["true"], [NULL, OUT, ERR]);
    }
    let scene = scene.wrote(2_999, 1, OUT, refused(error::EPIPE, 1));
    let (commands, more) = scene.commands();
    assert_eq!((commands.len() as u64, more), (1_024, 2_001 - 1_024));
    let pids: Vec<u32> = commands.iter().map(|command| command.pid).collect();
    assert_eq!((pids[0], pids[1], pids[1_023]), (COMMAND, 1_000, 2_999));
    assert!(pids.is_sorted());
}
