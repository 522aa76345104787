//! Findings before the end, from events as the kernel side sends them.

use tracer_common::{
    event::Holder,
    object::{FdState, QueueState},
};
use tracer_core::session::{Kind, Object};

use super::*;

const MANAGER: u32 = 60;
const WRITER: u32 = 71;
const READER: u32 = 80;

fn process(pid: u32) -> ProcessId {
    ProcessId::new(pid, 1)
}

fn pipe() -> ObjectId {
    ObjectId { ino: 5, ..ObjectId::default() }
}

/// A manager that started a writer and a reader; the manager is no target.
fn session() -> Session {
    let mut session = Session::default();
    for (pid, parent, is_target) in
        [(MANAGER, 0, false), (WRITER, MANAGER, true), (READER, MANAGER, true)]
    {
        let (id, parent) = (process(pid), process(parent));
        session.processes.insert(id, Process { id, parent, is_target, ..Process::default() });
    }
    session.add_object(Object { id: pipe(), kind: Kind::Pipe, ..Object::default() });
    session
}

fn key(pid: u32) -> LedgerKey {
    LedgerKey { process: process(pid), object: pipe(), fd: 1, direction: WRITE }
}

/// Applies an event and looks at it. Returns the rule of a finding.
fn tell(early: &mut Early, session: &mut Session, kind: EventKind) -> Option<Rule> {
    let event = Event { time_ns: 9, kind };
    session.apply(&event);
    rule(early.of_event(session, &event))
}

fn rule(found: Option<LiveEvent>) -> Option<Rule> {
    found.map(|found| match found {
        LiveEvent::EarlyFinding { rule, .. } => rule,
        other => panic!("{other:?}"),
    })
}

fn first_io(pid: u32, result: i64) -> EventKind {
    let first = FirstIo { key: key(pid), result, ..FirstIo::default() };
    EventKind::FirstIo { first, comm: String::new() }
}

fn closed(pid: u32, unread: u64, readers: u32) -> EventKind {
    let state = FdState { object: pipe(), ..FdState::default() };
    let queue = QueueState { unread, readers, valid: 1, ..QueueState::default() };
    let holder = Holder { process: process(pid), fd: 3, state, queue, ..Holder::default() };
    EventKind::Holder { holder, comm: "manager".into(), sighting: Sighting::Closed }
}

#[test]
fn a_refused_write_of_a_target_is_told_once() {
    let (mut early, mut session) = (Early::default(), session());
    let enospc = -i64::from(Errno::NOSPC.raw_os_error());
    let eagain = -i64::from(Errno::AGAIN.raw_os_error());
    assert_eq!(tell(&mut early, &mut session, first_io(MANAGER, enospc)), None);
    assert_eq!(tell(&mut early, &mut session, first_io(WRITER, eagain)), None);
    assert_eq!(tell(&mut early, &mut session, first_io(WRITER, enospc)), Some(Rule::Refused));
    assert_eq!(tell(&mut early, &mut session, first_io(WRITER, enospc)), None);
}

#[test]
fn a_row_with_refused_writes_is_told_about() {
    let (mut early, session) = (Early::default(), session());
    let mut row = LedgerRow::default();
    row.errors[error::EAGAIN as usize] = 7;
    assert_eq!(early.of_row(&session, &key(WRITER), &row), None);
    row.errors[error::ENOSPC as usize] = 1;
    assert_eq!(rule(early.of_row(&session, &key(WRITER), &row)), Some(Rule::Refused));
    assert_eq!(early.of_row(&session, &key(WRITER), &row), None);
    assert_eq!(early.of_row(&session, &key(MANAGER), &row), None);
}

/// The record of a close can come after that of the write that met it.
#[test]
fn a_write_without_reader_is_told_unless_a_reader_beside_the_writer_had_enough() {
    for (closer, expected) in [
        (Some(MANAGER), Some(Rule::ReaderGone)),
        (None, Some(Rule::ReaderGone)),
        (Some(READER), None),
    ] {
        let (mut early, mut session) = (Early::default(), session());
        let epipe = -i64::from(Errno::PIPE.raw_os_error());
        assert_eq!(tell(&mut early, &mut session, first_io(WRITER, epipe)), None);
        if let Some(closer) = closer {
            tell(&mut early, &mut session, closed(closer, 0, 0));
        }
        let mut told = early.put_off(&session).into_iter();
        assert_eq!(rule(told.next()), expected, "{closer:?}");
        assert!(early.put_off(&session).is_empty());
    }
}

#[test]
fn bytes_that_no_process_can_read_any_more_are_told_at_the_close() {
    for (closer, unread, readers, expected) in [
        (MANAGER, 100, 0, Some(Rule::Unread)),
        (MANAGER, 0, 0, None),
        // Another open file description.
        (MANAGER, 100, 1, None),
        // `writer | head`.
        (READER, 100, 0, None),
    ] {
        let (mut early, mut session) = (Early::default(), session());
        let before = tell(&mut early, &mut session, closed(closer, unread, readers));
        assert_eq!(before, None, "no target has written yet");
        tell(&mut early, &mut session, first_io(WRITER, 100));
        let found = tell(&mut early, &mut session, closed(closer, unread, readers));
        assert_eq!(found, expected, "{closer} {unread} {readers}");
    }
}

#[test]
fn a_writer_is_stuck_if_nothing_was_read_for_a_while() {
    let (mut early, session) = (Early::default(), session());
    let thread = BlockedThread {
        process: process(WRITER),
        call: BlockedCall::Write,
        fd: 1,
        object: Some(pipe()),
        ..BlockedThread::default()
    };
    let sums = |read| {
        let row = |bytes| LedgerRow { bytes, ..LedgerRow::default() };
        let reads = LedgerKey { direction: tracer_common::ledger::READ, ..key(MANAGER) };
        Sums::of(&session, &[(key(WRITER), row(100)), (reads, row(read))], |_| true)
    };
    let threads = [thread];
    let mut look = |second: u64, read| {
        let now_ns = second * 1_000_000_000;
        early.stuck(&session, (&[process(WRITER)], &threads), &sums(read), now_ns).len()
    };
    assert_eq!([look(1, 10), look(6, 20), look(10, 20)], [0, 0, 0]);
    assert_eq!([look(11, 20), look(16, 20)], [1, 0]);
}
