//! Terminals: bytes that a process discarded in them, and their sums, which a terminal changes.

use tracer_common::{
    event as layout,
    ledger::{LedgerRow, READ, WRITE},
    object::{FdState, ObjectId, PTY_MASTER_MAJOR, PTY_SLAVE_MAJOR, QueueState, TtyState, mode},
    op,
};

use super::{scene::*, silence::check};
use crate::{
    event::{EventKind, Sighting},
    verdict::Severity::{Info, Loss},
};

const TTY: ObjectId = object(180);
const MASTER: ObjectId = object(181);

impl Scene {
    /// A terminal `/dev/pts/7`; its master is this object, or unknown.
    pub(super) fn pty(self, slave: ObjectId, master: ObjectId) -> Self {
        let half = |id, joined, major| {
            let tty = TtyState { index: 7, major, valid: 1, zero: 0 };
            let (mode, nlink) = (mode::S_IFCHR, 1);
            let object =
                layout::Object { id, mode, tty, joined, nlink, ..layout::Object::default() };
            EventKind::Object { object, name: String::new() }
        };
        let scene = self.also(0, half(slave, master, PTY_SLAVE_MAJOR));
        if master.is_none() {
            return scene;
        }
        scene.also(0, half(master, slave, PTY_MASTER_MAJOR))
    }

    /// The kernel side found this many bytes in the terminal.
    pub(super) fn inside_tty(self, tty: ObjectId, tgid: u32, unread: u64) -> Self {
        let queue = QueueState { unread, valid: 1, ..QueueState::default() };
        let state = FdState { object: tty, flags: 2, ..FdState::default() };
        let (process, fd, sighting) = (id(tgid), 1, Sighting::Open);
        let holder = layout::Holder { process, state, fd, queue, ..layout::Holder::default() };
        self.also(9_900, EventKind::Holder { holder, comm: "sh".into(), sighting })
    }

    /// A process discarded what was in its side of a terminal.
    fn flushed(mut self, tgid: u32, object: ObjectId, direction: u32) -> Self {
        let key = tracer_common::ledger::LedgerKey { process: id(tgid), object, fd: 5, direction };
        self.0.add_row(key, &LedgerRow { doubts: Reason::TtyFlushed.bit(), ..LedgerRow::ZERO });
        self
    }
}

/// A command wrote 296 B to a terminal, and the manager read this many, at the master.
fn running(read: u64) -> Scene {
    let scene = managed(&["manager"]).pty(TTY, MASTER).command(80, MANAGER, &["sh"], [TTY; 3]);
    let scene = scene.wrote(80, 1, TTY, written_at(296, 100));
    let row = LedgerRow { ops: 1 << op::READ, ..written_at(read, 200) };
    if read > 0 { scene.read_row(MANAGER, 5, MASTER, row) } else { scene }
}

/// The same; the command ended.
fn shown(read: u64) -> Scene {
    running(read).exited(80, 0, 300)
}

#[test]
fn what_a_process_discarded_in_a_terminal_is_gone() {
    let master = |read| shown(read).flushed(MANAGER, MASTER, READ);
    check(vec![
        (Rule::Unread, "the reader discarded it", master(5), Some(Loss)),
        (Rule::Delivered, "the reader discarded it", master(5), None),
        (Rule::Unread, "before it read anything", master(0), Some(Loss)),
        (Rule::Unread, "the writer did", shown(5).flushed(80, TTY, WRITE), Some(Loss)),
        (Rule::Unread, "it may still be read", running(5).flushed(MANAGER, MASTER, READ), None),
        (
            Rule::Unread,
            "a look shows that it is gone",
            running(5).flushed(MANAGER, MASTER, READ).inside_tty(TTY, 80, 0),
            Some(Loss),
        ),
        (Rule::Unread, "all was read before", master(396), None),
        (Rule::Delivered, "all was read before", master(396), Some(Info)),
        (Rule::Unread, "what was typed was discarded", shown(396).flushed(80, TTY, READ), None),
        (Rule::Unread, "no process discarded anything", shown(5), None),
    ]);
    assert_eq!(
        master(5).finding(Rule::Unread).unwrap().message,
        "sh (pid 80) wrote 296 B to stdout; at least 291 B of what was written are gone: manager (pid 7) \
         discarded what was in /dev/pts/7, and only 5 B were read. It exited with 0."
    );
}

#[test]
fn no_more_is_unread_in_a_terminal_than_was_written() {
    let closed = |read, inside| {
        let scene = shown(read).inside_tty(TTY, 80, inside);
        scene.finding(Rule::Unread).map(|finding| finding.message).unwrap_or_default()
    };
    // 100 lines: the terminal adds as many bytes.
    let part = closed(16, 380);
    assert!(part.contains("wrote 296 B") && part.contains("; at least 280 B are"), "{part}");
    let all = closed(0, 396);
    assert!(all.contains("; at least 296 B are"), "{all}");
    let few = closed(300, 96);
    assert!(few.contains("; at least 48 B are"), "{few}");
    // It adds nothing.
    let raw = closed(200, 96);
    assert!(raw.contains("; 96 B are"), "{raw}");
}

#[test]
fn a_filter_that_runs_and_has_written_nothing_is_told() {
    let scene = |wrote, ended| {
        let scene = wrote_and_read(&["ticker"], 90).pipe(TTY);
        let scene = scene.command(80, 30, &["sh"], [NULL, TTY, ERR]);
        let scene = scene.command(81, 30, &["grep", "x"], [TTY, OUT, ERR]);
        let scene = scene.wrote(80, 1, TTY, write(60)).read_fd(81, 0, TTY, (60, 120));
        let scene = scene.exited(80, 0, 150);
        let scene = if wrote { scene.wrote(81, 1, OUT, written_at(60, 130)) } else { scene };
        let scene = if ended { scene.exited(81, 0, 160) } else { scene };
        let mut found = scene.judged().into_iter();
        let found = found.find(|it| it.rule == Rule::Delivered && it.pid == 80);
        found.map(|it| it.message).unwrap_or_default()
    };
    let held = scene(false, false);
    assert!(held.contains("; grep (pid 81) has written nothing to its stdout so far."), "{held}");
    for (wrote, ended) in [(true, false), (false, true), (true, true)] {
        let told = scene(wrote, ended);
        assert!(!told.is_empty() && !told.contains("so far"), "{wrote} {ended}: {told}");
    }
    // A manager reads it through a pipe of its own, and writes to no stdout all day.
    let scene = wrote_and_read(&["ticker"], 90).command(30, 1, &["manager"], [NULL, ERR, ERR]);
    let scene = scene.pipe(TTY).command(80, 30, &["sh"], [NULL, TTY, ERR]);
    let scene = scene.wrote(80, 1, TTY, write(60)).read_fd(30, 7, TTY, (60, 120));
    let found = scene.exited(80, 0, 150).judged().into_iter().find(|it| it.pid == 80).unwrap();
    assert!(!found.message.contains("so far"), "{}", found.message);
}
