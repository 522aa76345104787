use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    object::QueueState,
};

use super::*;
use crate::{
    event::{BlockedThread, NotSeen},
    session::Object,
};

fn session(before: u64, written: u64, read: u64) -> (Session, ObjectId) {
    let id = ObjectId { ino: 5, dev: 1, discriminator: 0 };
    let mut session = Session::default();
    let queue = QueueState { unread: before, valid: 1, ..QueueState::default() };
    session.add_object(Object { id, kind: Kind::Pipe, queue, ..Object::default() });
    for (tgid, direction, bytes) in [(1, WRITE, written), (2, READ, read)] {
        let process = ProcessId::new(tgid, 0);
        let key = LedgerKey { process, object: id, fd: 1, direction };
        session.add_row(key, &LedgerRow { bytes, ..LedgerRow::default() });
    }
    (session, id)
}

#[test]
fn written_and_not_read_bytes_are_unread() {
    let (session, id) = session(10, 100, 90);
    let flows = Flows::of(&session);
    let flow = flows.get(&id);
    assert_eq!((flow.unread, flow.balanced), (Some(20), None));
}

#[test]
fn bytes_read_before_the_watch_are_not_unread() {
    let (mut session, id) = session(0, 100, 30);
    session.objects.get_mut(&id).unwrap().taken_unseen = 60;
    let flows = Flows::of(&session);
    let flow = flows.get(&id);
    assert_eq!((flow.unread, flow.balanced), (Some(10), Some(false)));
}

#[test]
fn a_user_whose_threads_were_not_seen_may_have_moved_more() {
    let balanced = |unseen: Option<ProcessId>| {
        let (mut session, id) = session(0, 100, 101);
        session.not_seen.extend(unseen.map(|process| NotSeen {
            look: Look::Threads,
            process,
            ..NotSeen::default()
        }));
        Flows::of(&session).get(&id).balanced
    };
    assert_eq!(balanced(None), Some(false));
    assert_eq!(balanced(Some(ProcessId::new(3, 0))), Some(false));
    for unseen in [1, 2].map(|tgid| ProcessId::new(tgid, 0)) {
        assert_eq!(balanced(Some(unseen)), None);
    }
    assert_eq!(balanced(Some(ProcessId::default())), None);
}

#[test]
fn more_bytes_read_than_available_do_not_balance() {
    let (session, id) = session(0, 100, 101);
    assert_eq!(Flows::of(&session).get(&id).balanced, Some(false));
}

/// Two ends of a socket of this type, of which the first was written to.
fn sockets(kind: u16, before: u64, written: u64, read: u64) -> (Session, ObjectId) {
    let (mut session, id) = session(before, written, 0);
    let other = ObjectId { ino: 6, ..id };
    let object = session.objects.get_mut(&id).unwrap();
    (object.kind, object.socket.kind) = (Kind::Socket, kind);
    let process = ProcessId::new(2, 0);
    let key = LedgerKey { process, object: other, fd: 5, direction: READ };
    session.add_row(key, &LedgerRow { bytes: read, last_ns: 9, ..LedgerRow::default() });
    (session, id)
}

fn join(session: &mut Session, id: ObjectId) {
    let other = ObjectId { ino: 6, ..id };
    session.joined.extend([(id, other), (other, id)]);
}

/// A look at the receive queue of the end that reads.
fn look(session: &mut Session, unread: u64, time_ns: u64) {
    let other = ObjectId { ino: 6, dev: 1, discriminator: 0 };
    session.saw_queues(other, QueueState::default(), QueueState::holding(unread), time_ns);
}

#[test]
fn a_look_from_the_end_that_reads_proves_the_balance_of_a_socket() {
    let (mut session, id) = sockets(1, 1_000, 500, 700);
    join(&mut session, id);
    let ends = |session: &Session| {
        let flows = Flows::of(session);
        let flow = flows.get(&id);
        (flow.inside, flow.unread, flow.balanced)
    };
    assert_eq!(ends(&session), (None, Some(800), None));
    // Too early: bytes have moved since.
    look(&mut session, 900, 8);
    assert_eq!(ends(&session), (None, Some(800), None));
    look(&mut session, 800, 9);
    assert_eq!(ends(&session), (Some(800), Some(800), Some(true)));
}

#[test]
fn a_blocked_reader_may_hold_what_is_not_in_the_queue_any_more() {
    let (mut session, id) = sockets(1, 0, 1_000, 0);
    join(&mut session, id);
    look(&mut session, 0, 9);
    let balanced = |session: &Session| Flows::of(session).get(&id).balanced;
    assert_eq!(balanced(&session), Some(false));
    session.blocked.push(BlockedThread {
        process: ProcessId::new(2, 0),
        tid: 2,
        call: BlockedCall::Read,
        fd: 5,
        object: Some(session.peer(&id)),
        ..BlockedThread::default()
    });
    assert_eq!(balanced(&session), None);
}

#[test]
fn a_short_read_of_a_packet_leaves_bytes_that_are_nowhere() {
    let (mut session, id) = sockets(5, 0, 1_000, 600);
    join(&mut session, id);
    look(&mut session, 0, 9);
    let flows = Flows::of(&session);
    let flow = flows.get(&id);
    assert_eq!((flow.inside, flow.unread, flow.balanced), (Some(0), Some(400), None));
}

#[test]
fn of_a_socket_with_an_unknown_other_end_nothing_is_computed() {
    let (mut session, id) = sockets(1, 0, 500, 0);
    let look = |session: &mut Session, unread| {
        session.saw_queues(id, QueueState::holding(unread), QueueState::default(), 10);
        let flows = Flows::of(session);
        let flow = flows.get(&id);
        (flow.unread, flow.balanced)
    };
    // Its reader, whose calls are not counted, may have read them since.
    assert_eq!(look(&mut session, 500), (None, None));
    assert_eq!(look(&mut session, 0), (Some(0), None));
}

#[test]
fn the_end_of_the_data_proves_that_nothing_is_left() {
    let (mut session, id) = session(10, 100, 110);
    assert_eq!(Flows::of(&session).get(&id).balanced, None);
    let row = session.ledger.values_mut().find(|row| row.bytes == 110).unwrap();
    row.zero = 1;
    assert_eq!(Flows::of(&session).get(&id).balanced, Some(true));
}

/// Another process asked for no byte (`read(fd, buf, 0)`), or polled a FIFO before its writer came.
#[test]
fn a_call_that_returned_nothing_before_the_last_byte_proves_nothing() {
    let balanced = |empty_ns: u64, (written_ns, read_ns): (u64, u64)| {
        let (mut session, id) = session(0, 100, 100);
        for (key, row) in &mut session.ledger {
            row.last_ns = if key.direction == WRITE { written_ns } else { read_ns };
        }
        let key = LedgerKey { process: ProcessId::new(3, 0), object: id, fd: 0, direction: READ };
        session.add_row(key, &LedgerRow { zero: 1, last_ns: empty_ns, ..LedgerRow::default() });
        Flows::of(&session).get(&id).balanced
    };
    assert_eq!(balanced(30, (10, 20)), Some(true));
    assert_eq!(balanced(15, (10, 20)), None);
    assert_eq!(balanced(15, (20, 10)), None);
}
