//! Commands that hang: what they wait for, and which process is named as the cause.

use tracer_common::{
    ledger::{LedgerRow, error},
    object::ObjectId,
};

use super::{scene::*, silence::check};
use crate::{
    event::{BlockedCall, BlockedThread, EventKind},
    verdict::Severity::{Info, Warning},
};

const AF_INET: u16 = 2;
/// A process that ran before the trace, and one that could read what it writes.
const WRITER: u32 = 40;
const READER: u32 = 41;
const PLACE: ObjectId = object(180);
const MASTER: ObjectId = object(181);

/// A thread of a process, its leader, is blocked in a call on an fd that leads to something that is not watched.
fn waits(scene: Scene, tgid: u32, call: BlockedCall, fd: i32, path: &str) -> Scene {
    let (process, path) = (id(tgid), path.to_owned());
    let thread = BlockedThread { process, tid: tgid, call, fd, path, ..BlockedThread::default() };
    scene.also(10_000, EventKind::BlockedThread(thread))
}

/// The writer is blocked in a write to a pipe that has 65,536 B; the other process can read them.
fn full_pipe() -> Scene {
    let scene = managed(&["manager"]).pipe(PLACE).adopted(WRITER, "seq", [NULL, PLACE, ERR]);
    let scene = scene.inside(PLACE, 65_536, 9_900).holds(READER, 5, PLACE);
    scene.blocked(WRITER, BlockedCall::Write, 1, PLACE)
}

/// The same of a terminal with this many bytes in it, whose master the other process holds.
fn terminal(inside: u64) -> Scene {
    let scene = managed(&["manager"]).pty(PLACE, MASTER);
    let scene = scene.inside_tty(PLACE, WRITER, inside);
    scene.adopted(WRITER, "sh", [NULL, PLACE, PLACE]).holds(READER, 5, MASTER).blocked(
        WRITER,
        BlockedCall::Write,
        1,
        PLACE,
    )
}

fn message(scene: &Scene, rule: Rule) -> (String, String) {
    let found = scene.finding(rule).unwrap_or_else(|| panic!("{rule}: {:#?}", scene.judged()));
    (found.message, found.advice.unwrap())
}

#[test]
fn what_the_reader_of_a_full_pipe_waits_for_is_named() {
    let reader =
        |call, fd, path: &str| message(&waits(full_pipe(), READER, call, fd, path), Rule::Stuck);
    let (plain, _) = message(&full_pipe(), Rule::Stuck);
    let idle = "reader41 (pid 41), which could read it, has read nothing since tracer attached";
    assert!(plain.ends_with(&format!("and {idle}.")), "{plain}");
    for (call, expected) in [
        (BlockedCall::Read, "waits to read pipe:[9]"),
        (BlockedCall::Write, "is itself blocked writing to pipe:[9]"),
        (BlockedCall::Lock, "waits for a lock on pipe:[9]"),
    ] {
        let (found, _) = reader(call, 3, "pipe:[9]");
        assert!(found.ends_with(&format!("{idle}: it {expected}.")), "{found}");
    }
    let (_, advice) = reader(BlockedCall::Write, 1, "pipe:[9]");
    assert!(advice.starts_with("Look at what reads the output of reader41 (pid 41)"), "{advice}");
    // Nothing is known of other calls, nor of an fd without a name.
    for (call, path) in [(BlockedCall::Other, "pipe:[9]"), (BlockedCall::Read, "")] {
        assert_eq!(reader(call, 3, path).0, plain);
    }
}

#[test]
fn an_empty_terminal_that_takes_nothing_is_paused_and_its_reader_is_innocent() {
    let reads = |inside| terminal(inside).blocked(READER, BlockedCall::Read, 5, MASTER);
    let (paused, advice) = message(&reads(0), Rule::Stuck);
    assert_eq!(
        paused,
        "sh (pid 40) is stuck: it is blocked writing to stdout and stderr; /dev/pts/7 holds 0 B and takes no more, \
         because its output is stopped, as by the stop key (^S); reader41 (pid 41) waits to read it."
    );
    assert_eq!(advice, "Press ^Q in this terminal, or run `stty -F /dev/pts/7 -ixon`.");
    // Its reader may also wait in poll(2).
    let (polls, _) = message(&terminal(0), Rule::Stuck);
    assert!(polls.starts_with("Unsure") && polls.ends_with("by the stop key (^S)."), "{polls}");
    let (full, _) = message(&terminal(4095), Rule::Stuck);
    assert!(full.contains("holds 4,095 B and takes no more, and reader41"), "{full}");
}

#[test]
fn a_socket_that_takes_no_more_is_seen_by_its_writer_alone() {
    let socket = |remote, last_ms: Option<u64>| {
        let scene = managed(&["manager"]).socket(PLACE, AF_INET, remote, ObjectId::NONE);
        let scene = scene.adopted(WRITER, "seq", [NULL, PLACE, ERR]).holds(WRITER, 1, PLACE);
        let scene = scene.blocked(WRITER, BlockedCall::Write, 1, PLACE);
        last_ms
            .into_iter()
            .fold(scene, |scene, ms| scene.wrote(WRITER, 1, PLACE, written_at(9, ms)))
    };
    let here = [127, 0, 0, 1];
    check(vec![
        (Rule::Stuck, "it wrote nothing", socket(here, None), Some(Warning)),
        (Rule::Stuck, "it wrote something long ago", socket(here, Some(500)), Some(Warning)),
        (Rule::Stuck, "it writes all the time", socket(here, Some(9_900)), None),
        (Rule::Stuck, "a network may be slow", socket([192, 0, 2, 1], None), None),
    ]);
    let (found, _) = message(&socket(here, None), Rule::Stuck);
    assert!(
        found.ends_with(
            "on this machine, reads nothing, or too slowly: no write has returned for 10.0 s."
        ),
        "{found}"
    );
}

#[test]
fn an_idle_command_says_what_it_waits_for() {
    let idle = || managed(&["manager"]).adopted(WRITER, "sh", [NULL, OUT, ERR]);
    let child =
        |scene: Scene, tgid| scene.command(tgid, COMMAND, &["flock", "9"], [NULL, OUT, ERR]);
    let one = child(managed(&["sh"]), 80);
    let two = child(child(managed(&["sh"]), 80), 81);
    for (scene, tgid, call, fd, expected) in [
        (idle(), WRITER, BlockedCall::Read, 0, ": it waits to read its stdin, /x/in;"),
        (idle(), WRITER, BlockedCall::Read, 3, ": it waits to read /x/in;"),
        (idle(), WRITER, BlockedCall::Other, -1, " attached;"),
        (one.clone(), 80, BlockedCall::Lock, 9, ": flock (pid 80) waits for a lock on /x/in."),
        (one.exited(80, 0, 90), 80, BlockedCall::Lock, 9, "so far. Still"),
        (two, 80, BlockedCall::Lock, 9, "so far. Still"),
    ] {
        let scene = waits(scene, tgid, call, fd, "/x/in");
        let (found, _) = message(&scene, Rule::NeverWrote);
        assert!(found.contains(expected), "{expected}: {found}");
    }
    // What it reads is still held open by a process that no event has named.
    let writer = "sleep (pid 9)".to_owned();
    let (process, path, call) = (id(WRITER), "pipe:[9]".to_owned(), BlockedCall::Read);
    let thread =
        BlockedThread { process, tid: WRITER, call, fd: 3, path, writer, ..Default::default() };
    let (found, _) =
        message(&idle().also(10_000, EventKind::BlockedThread(thread)), Rule::NeverWrote);
    let expected = ": it waits to read pipe:[9], whose write end sleep (pid 9) holds;";
    assert!(found.contains(expected), "{found}");
    // Another thread than the first may wait for work.
    let process = id(WRITER);
    let path = "/x/in".to_owned();
    let thread = BlockedThread {
        process,
        tid: 99,
        call: BlockedCall::Read,
        fd: 0,
        path,
        ..Default::default()
    };
    let (found, _) =
        message(&idle().also(10_000, EventKind::BlockedThread(thread)), Rule::NeverWrote);
    assert!(found.contains("since tracer attached;"), "{found}");
}

#[test]
fn a_pipe_without_a_reader_is_told_before_it_is_written_to() {
    let idle = || managed(&["manager"]).pipe(PLACE).adopted(WRITER, "sh", [NULL, PLACE, ERR]);
    let (alone, _) = message(&idle().holds(WRITER, 1, PLACE), Rule::NeverWrote);
    assert!(alone.contains(": its stdout, pipe:[180], has no reader any more, so"), "{alone}");
    let read = idle().holds(WRITER, 1, PLACE).holds(READER, 5, PLACE);
    for (scene, why) in [(idle(), "no survey"), (read, "a reader")] {
        let (found, _) = message(&scene, Rule::NeverWrote);
        assert!(!found.contains("no reader"), "{why}: {found}");
    }
}

#[test]
fn a_program_without_stdout_is_named() {
    let script = |stdout| {
        let scene = managed(&["sh", "job"]);
        let scene = scene.command(80, COMMAND, &["python3", "x"], [NULL, stdout, ERR]);
        scene.exited(80, 0, 110).exited(COMMAND, 0, 130)
    };
    let (closed, _) = message(&script(ObjectId::NONE), Rule::NeverWrote);
    assert_eq!(
        closed,
        "sh job (pid 71) never wrote to stdout or stderr; python3 x (pid 80) was started with its stdout closed, so \
         what it prints goes nowhere. It exited with 0."
    );
    let (open, _) = message(&script(OUT), Rule::NeverWrote);
    assert_eq!(open, "sh job (pid 71) never wrote to stdout or stderr. It exited with 0.");
    let own = managed(&["sh"]).command(90, MANAGER, &["date"], [NULL, ObjectId::NONE, ERR]);
    let messages = own.exited(90, 0, 110).judged();
    let is_it = |finding: &crate::verdict::Finding| {
        finding.message.contains("; it was started with its stdout closed")
    };
    assert!(messages.iter().any(is_it), "{messages:#?}");
    // What arrived through another process needs no such reason.
    let wrote = script(ObjectId::NONE).wrote(COMMAND, 1, OUT, write(5)).read(MANAGER, OUT, 5, 120);
    check(vec![
        (Rule::NeverWrote, "another one wrote", wrote.clone(), None),
        (Rule::Delivered, "another one wrote", wrote, Some(Info)),
    ]);
}

#[test]
fn the_close_of_a_terminal_whose_master_is_unknown_has_no_culprit() {
    let scene = managed(&["manager"]).pty(PLACE, ObjectId::NONE);
    let scene = scene.adopted(WRITER, "sh", [NULL, PLACE, PLACE]);
    let refused = with_errors(LedgerRow::ZERO, error::EIO, 1);
    // Its own child has the terminal as well, and ends.
    let scene = scene.command(80, WRITER, &["sleep", "1"], [PLACE, PLACE, PLACE]);
    let scene = scene.closed(80, PLACE, 190).exited(80, 0, 200).wrote(WRITER, 1, PLACE, refused);
    let (found, _) = message(&scene, Rule::ReaderGone);
    assert!(found.contains("the other end of /dev/pts/7 was closed"), "{found}");
}
