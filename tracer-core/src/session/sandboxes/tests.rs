use tracer_common::{ledger::LedgerRow, object::mode};

use tracer_common::event as layout;

use super::*;
use crate::event::{Event, EventKind, HandedIn};

const SENTRY: ProcessId = ProcessId::new(90, 5);
const GUEST: ProcessId = ProcessId { sandbox: 1, ..ProcessId::new(2, 7) };
const PIPE: ObjectId = ObjectId { ino: 77, dev: 14, discriminator: 0 };
const INSIDE: ObjectId = ObjectId { ino: 2, dev: GUEST_MAJOR << 20 | 1, discriminator: 3 };

/// A session in which the sentry has written `outside` bytes to the pipe for a guest that wrote `inside` bytes.
fn joined(outside: u64, inside: u64) -> Session {
    let mut session = Session::default();
    let row = |bytes| LedgerRow { bytes, calls: 1, ..LedgerRow::ZERO };
    let key = |process, object, fd| LedgerKey { process, object, fd, direction: WRITE };
    session.add_row(key(SENTRY, PIPE, 257), &row(outside));
    session.add_row(key(GUEST, INSIDE, 1), &row(inside));
    session.sandbox_seen(&Sandbox {
        number: 1,
        sentry: SENTRY,
        handed_in: vec![HandedIn { object: INSIDE, fd: 257 }],
        ..Sandbox::default()
    });
    session.join_sandboxes();
    session
}

fn written(session: &Session, process: ProcessId) -> Vec<(ObjectId, u64)> {
    session.rows_of(process, WRITE).map(|(key, row)| (key.object, row.bytes)).collect()
}

#[test]
fn what_guests_write_outside_counts_once() {
    let session = joined(21, 21);
    assert_eq!(written(&session, GUEST), [(PIPE, 21)]);
    assert_eq!(written(&session, SENTRY), []);
}

/// A session in which a guest that `docker exec` started wrote to files that the sandbox got then: object, bytes and
/// time of each, and the same of the sentry.
fn joined_later(inside: &[(u64, u64, u64)], outside: &[(u64, u64, u64)]) -> Session {
    let mut session = Session::default();
    let row = |bytes, first_ns| LedgerRow { bytes, calls: 1, first_ns, ..LedgerRow::ZERO };
    for (ino, bytes, first_ns) in inside {
        let object = ObjectId { ino: *ino, ..INSIDE };
        let seen = layout::Object { id: object, mode: mode::S_IFCHR, ..Default::default() };
        let kind = EventKind::Object { object: seen, name: format!("host:[{ino}]") };
        session.apply(&Event { time_ns: 0, kind });
        let key = LedgerKey { process: GUEST, object, fd: 1, direction: WRITE };
        session.add_row(key, &row(*bytes, *first_ns));
    }
    for (ino, bytes, first_ns) in outside {
        let object = ObjectId { ino: *ino, ..PIPE };
        let key = LedgerKey { process: SENTRY, object, fd: *ino as i32, direction: WRITE };
        session.add_row(key, &row(*bytes, *first_ns));
    }
    session.sandbox_seen(&Sandbox { number: 1, sentry: SENTRY, ..Sandbox::default() });
    session.join_sandboxes();
    session
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn files_that_were_handed_in_later_are_found_by_what_was_written() {
    let inside = [(5, 20, SECOND), (6, 9, SECOND), (7, 20, 2 * SECOND)];
    let outside = [(41, 20, SECOND), (42, 9, SECOND + 500), (43, 20, 2 * SECOND - 700)];
    let session = joined_later(&inside, &outside);
    let pipe = |ino| ObjectId { ino, ..PIPE };
    assert_eq!(written(&session, GUEST), [(pipe(41), 20), (pipe(42), 9), (pipe(43), 20)]);
    assert_eq!(written(&session, SENTRY), []);
}

#[test]
fn what_runsc_prints_is_no_output_of_a_sandbox() {
    let mut session = Session::default();
    let runsc = ProcessId::new(95, 9);
    let key = LedgerKey { process: runsc, object: PIPE, fd: 1, direction: WRITE };
    let first = layout::FirstIo { key, ..layout::FirstIo::default() };
    let kind = EventKind::FirstIo { first, comm: "runsc".into() };
    session.apply(&Event { time_ns: 0, kind });
    session.add_row(key, &LedgerRow { bytes: 51, calls: 1, ..LedgerRow::ZERO });
    session.sandbox_seen(&Sandbox { number: 1, sentry: SENTRY, ..Sandbox::default() });
    session.join_sandboxes();
    assert!(session.ledger.is_empty() && !session.processes.contains_key(&runsc));
}

#[test]
fn files_that_cannot_be_told_apart_are_not_joined() {
    // Something else that the sandbox was given got as many bytes.
    let outside = [(41, 2, SECOND), (42, 2, SECOND), (43, 2, SECOND)];
    let session = joined_later(&[(5, 2, SECOND), (6, 2, SECOND)], &outside);
    let own = |ino| ObjectId { ino, ..INSIDE };
    assert_eq!(written(&session, GUEST), [(own(5), 2), (own(6), 2)]);
}

#[test]
fn what_one_process_wrote_to_equal_files_is_in_the_same_order_outside() {
    let inside = [(5, 2, SECOND + 300), (6, 2, SECOND)];
    let session = joined_later(&inside, &[(41, 2, SECOND + 10), (42, 2, SECOND + 290)]);
    let pipe = |ino| ObjectId { ino, ..PIPE };
    assert_eq!(written(&session, GUEST), [(pipe(41), 2), (pipe(42), 2)]);
    assert_eq!(written(&session, SENTRY), []);
}

#[test]
fn a_file_of_gvisors_own_is_no_file_of_the_trace_unless_another_process_writes_to_it() {
    for others in [0, 7] {
        let mut session = Session::default();
        let file = ObjectId { ino: 88, ..PIPE };
        let seen = layout::Object { id: file, mode: mode::S_IFREG, ..Default::default() };
        let kind = EventKind::Object { object: seen, name: "/run/state".into() };
        session.apply(&Event { time_ns: 0, kind });
        let row = |bytes| LedgerRow { bytes, calls: 1, ..LedgerRow::ZERO };
        let key = |process| LedgerKey { process, object: file, fd: 9, direction: WRITE };
        session.add_row(key(SENTRY), &row(20));
        if others > 0 {
            session.add_row(key(ProcessId::new(95, 9)), &row(others));
        }
        session.sandbox_seen(&Sandbox { number: 1, sentry: SENTRY, ..Sandbox::default() });
        session.join_sandboxes();
        let bytes: u64 = session.ledger.values().map(|row| row.bytes).sum();
        let is_known = session.objects.contains_key(&file);
        assert_eq!((is_known, bytes), (others > 0, if others > 0 { 27 } else { 0 }));
    }
}

#[test]
fn what_was_written_before_tracer_looked_inside_stays_with_the_sentry() {
    let session = joined(100, 21);
    assert_eq!(written(&session, GUEST), [(PIPE, 21)]);
    assert_eq!(written(&session, SENTRY), [(PIPE, 79)]);
}

/// The sandbox's files need it that all fds are counted. A client's socket to its daemon is no output.
#[test]
fn what_was_counted_for_the_sandboxs_sake_alone_is_left_out() {
    for only_fds in [Some(0b110), None] {
        let mut session = Session::default();
        let client = ProcessId::new(95, 9);
        let mut write = |fd, ino, bytes| {
            let object = ObjectId { ino, ..PIPE };
            let key = LedgerKey { process: client, object, fd, direction: WRITE };
            session.add_row(key, &LedgerRow { bytes, calls: 1, ..LedgerRow::ZERO });
        };
        for (fd, ino, bytes) in [(1, 81, 3), (5, 81, 4), (6, 82, 282)] {
            write(fd, ino, bytes);
        }
        let key = LedgerKey { process: client, object: PIPE, fd: 1, direction: WRITE };
        let first = layout::FirstIo { key, ..layout::FirstIo::default() };
        let kind = EventKind::FirstIo { first, comm: "docker".into() };
        session.apply(&Event { time_ns: 0, kind });
        session.processes.get_mut(&client).unwrap().other_bytes = Some(7);
        let sandbox = Sandbox { number: 1, sentry: SENTRY, only_fds, ..Sandbox::default() };
        session.sandbox_seen(&sandbox);
        session.join_sandboxes();
        let sum: u64 = session.rows_of(client, WRITE).map(|(_, row)| row.bytes).sum();
        let expected = if only_fds.is_some() { (7, 289) } else { (289, 7) };
        assert_eq!((sum, session.processes[&client].other_bytes.unwrap()), expected);
    }
}
