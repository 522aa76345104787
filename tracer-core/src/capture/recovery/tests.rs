//! Small indexes, and which results are certain.

mod model;

use tracer_common::{id::ProcessId, object::ObjectId};

use super::*;
use crate::capture::index::{Missing, Total, Written};

const PIPE: ObjectId = ObjectId { ino: 88, dev: 9, discriminator: 0 };
const OTHER: ObjectId = ObjectId { ino: 89, dev: 9, discriminator: 0 };

/// Stream N belongs to process N, which started at N ns.
fn stream(stream: u32, object: ObjectId) -> Line {
    let process = ProcessId::new(stream, u64::from(stream));
    let (comm, file) = ("sh".to_owned(), format!("sh-{stream}.stdout"));
    Line::Stream(Declared { stream, process, comm, fd: 1, object, file })
}

fn write(stream: u32, offset: u64, length: u64, tid: u32, time_ns: u64) -> Line {
    Line::Write(Written { stream, offset, length, time_ns, tid, syscall: "write".into() })
}

fn gap(stream: u32, offset: u64, length: u64, reason: Reason) -> Line {
    Line::Gap(Missing { stream, offset, length, time_ns: 900, reason, source: None })
}

fn end(stream: u32, cut: u64) -> Line {
    Line::End(Total { stream, written: 0, kept: 0, cut, missing: 0 })
}

fn tail(unread: u64, written: u64) -> Want {
    Want::Tail { object: PIPE, unread, in_flight: 0, written, is_sure: true }
}

fn one(want: Want, lines: &[Line]) -> Found {
    recover(&[want], lines.iter().cloned()).remove(0)
}

fn bytes(stream: u32, offset: u64, length: u64, tid: u32, time_ns: u64) -> Part {
    Part::Bytes(Piece { stream, offset, length, tid, time_ns })
}

fn missing(length: u64, reason: Reason) -> Part {
    Part::Gap { length, reason }
}

/// One thread wrote 10, 20 and 30 bytes.
fn three_writes() -> Vec<Line> {
    vec![
        stream(1, PIPE),
        write(1, 0, 10, 1, 100),
        write(1, 10, 20, 1, 200),
        write(1, 30, 30, 1, 300),
        end(1, 0),
    ]
}

#[test]
fn the_last_bytes_of_one_thread_are_certain_within_a_write_too() {
    let found = one(tail(35, 60), &three_writes());
    assert_eq!(found.parts, [bytes(1, 25, 5, 1, 200), bytes(1, 30, 30, 1, 300)]);
    assert_eq!((found.bytes, found.missing, found.is_exact()), (35, 0, true));
    assert_eq!(found.streams, [1]);
    assert_eq!(one(tail(30, 60), &three_writes()).parts, [bytes(1, 30, 30, 1, 300)]);
}

#[test]
fn unbalanced_counts_make_nothing_certain() {
    let want = Want::Tail { object: PIPE, unread: 30, in_flight: 0, written: 60, is_sure: false };
    assert_eq!(one(want, &three_writes()).doubts, [Doubt::Unbalanced]);
}

#[test]
fn a_request_completed_in_a_thread_says_nothing_about_its_other_writes() {
    let mut lines = three_writes();
    let Line::Write(last) = &mut lines[3] else { panic!() };
    last.syscall = "io_uring".to_owned();
    assert_eq!(one(tail(30, 60), &lines).doubts, [Doubt::Threads]);
}

#[test]
fn without_a_last_line_the_assumed_cut_is_used() {
    let mut search = Search::new(&[tail(40, 60)]);
    three_writes()[..4].iter().for_each(|line| search.see(line));
    search.assume_cut(1, 30);
    let found = search.finish().remove(0);
    assert_eq!(found.parts, [missing(10, Reason::Limit), bytes(1, 0, 30, 1, 300)]);
    assert_eq!(found.doubts, [Doubt::Unfinished]);
}

#[test]
fn of_an_object_without_captured_writes_nothing_is_found() {
    let want = Want::Tail { object: OTHER, unread: 5, in_flight: 0, written: 5, is_sure: true };
    assert_eq!(one(want, &three_writes()), Found::default());
    let want = Want::Stream { process: ProcessId::new(9, 9), fd: 1, object: PIPE };
    assert_eq!(one(want, &three_writes()), Found::default());
}

#[test]
fn threads_that_alternate_at_the_boundary_raise_a_doubt() {
    let lines = [
        stream(1, PIPE),
        write(1, 0, 10, 1, 100),
        write(1, 10, 10, 2, 150),
        write(1, 20, 10, 1, 200),
        end(1, 0),
    ];
    // Thread 1 may have been inside its second call when thread 2 put in its bytes.
    assert_eq!(one(tail(10, 30), &lines).doubts, [Doubt::Threads]);
    assert_eq!(one(tail(15, 30), &lines).doubts, [Doubt::Threads]);
    assert_eq!(one(tail(30, 30), &lines).doubts, [], "nothing was read");
    assert_eq!(one(tail(25, 30), &lines).doubts, [Doubt::Threads]);
}

#[test]
fn a_process_that_began_after_the_boundary_wrote_behind_it() {
    let lines = [
        stream(1, PIPE),
        write(1, 0, 10, 1, 400),
        stream(500, PIPE),
        write(500, 0, 10, 500, 600),
        end(1, 0),
        end(500, 0),
    ];
    assert_eq!(one(tail(10, 20), &lines).doubts, []);
    assert_eq!(one(tail(15, 20), &lines).doubts, []);
}

#[test]
fn a_write_in_two_parts_is_one_write() {
    let lines = [
        stream(1, PIPE),
        write(1, 0, 10, 2, 100),
        write(1, 10, 10, 1, 200),
        write(1, 20, 10, 1, 200),
        end(1, 0),
    ];
    // The boundary is between the parts; the bytes of thread 2 may be between them.
    assert_eq!(one(tail(10, 30), &lines).doubts, [Doubt::Threads]);
}

#[test]
fn gaps_are_parts_and_raise_a_doubt_unless_everything_is_requested() {
    let lines = [
        stream(1, PIPE),
        write(1, 0, 10, 1, 100),
        gap(1, 10, 5, Reason::RingFull),
        write(1, 10, 10, 1, 200),
        gap(1, 20, 7, Reason::Limit),
        end(1, 0),
    ];
    let found = one(tail(20, 32), &lines);
    let parts = [missing(3, Reason::RingFull), bytes(1, 10, 10, 1, 200), missing(7, Reason::Limit)];
    assert_eq!(found.parts, parts);
    assert_eq!((found.bytes, found.missing, &found.doubts[..]), (10, 10, &[Doubt::Gaps][..]));
    let whole = one(tail(32, 32), &lines);
    assert_eq!((whole.bytes, whole.missing, whole.is_exact()), (20, 12, true));
}

#[test]
fn bytes_cut_from_the_front_of_a_file_are_a_gap() {
    let mut lines = three_writes();
    lines[4] = end(1, 27);
    let found = one(tail(35, 60), &lines);
    assert_eq!(
        found.parts,
        [missing(2, Reason::Limit), bytes(1, 0, 3, 1, 200), bytes(1, 3, 30, 1, 300)]
    );
}

#[test]
fn bytes_of_other_writers_are_missing_and_raise_a_doubt() {
    let before = one(tail(80, 60), &three_writes());
    assert_eq!(before.parts[0], missing(20, Reason::Unexplained));
    assert_eq!((before.bytes, before.missing), (60, 20));
    assert_eq!(before.doubts, [Doubt::Before]);
    assert_eq!(one(tail(10, 61), &three_writes()).doubts, [Doubt::Others]);
    let want = Want::Tail { object: PIPE, unread: 34, in_flight: 4, written: 60, is_sure: true };
    let in_flight = one(want, &three_writes());
    assert_eq!(in_flight.parts, [bytes(1, 30, 30, 1, 300), missing(4, Reason::Unexplained)]);
    assert_eq!(in_flight.doubts, [Doubt::InFlight]);
    let cut = &three_writes()[..4];
    assert_eq!(one(tail(30, 60), cut).doubts, [Doubt::Unfinished]);
}

#[test]
fn a_whole_stream_is_one_range_with_its_gaps() {
    let lines = [
        stream(1, PIPE),
        stream(2, PIPE),
        write(1, 0, 10, 1, 100),
        write(2, 0, 9, 2, 150),
        write(1, 10, 10, 1, 200),
        gap(1, 20, 7, Reason::Copied),
        write(1, 20, 5, 1, 300),
        end(1, 0),
        end(2, 0),
    ];
    let want = Want::Stream { process: ProcessId::new(1, 1), fd: 1, object: PIPE };
    let found = one(want, &lines);
    assert_eq!(
        found.parts,
        [bytes(1, 0, 20, 1, 100), missing(7, Reason::Copied), bytes(1, 20, 5, 1, 300)]
    );
    assert_eq!((found.bytes, found.missing, &found.doubts[..]), (25, 7, &[Doubt::Gaps][..]));
}

#[test]
fn a_stream_with_many_gaps_keeps_its_bytes_and_sums() {
    let mut lines = vec![stream(1, PIPE)];
    for number in 0..10_000 {
        lines.push(write(1, 3 * number, 3, 1, number));
        lines.push(gap(1, 3 * number + 3, 2, Reason::RingFull));
    }
    lines.push(end(1, 0));
    let want = Want::Stream { process: ProcessId::new(1, 1), fd: 1, object: PIPE };
    let found = one(want, &lines);
    assert_eq!((found.bytes, found.missing), (30_000, 20_000));
    assert!(found.parts.len() <= 4100, "{}", found.parts.len());
    assert!(matches!(found.parts[1], Part::Bytes(Piece { offset: 0, .. })), "{:?}", found.parts[1]);
}

#[test]
fn memory_is_bounded_by_the_requested_bytes() {
    let mut search = Search::new(&[tail(50, 1 << 30)]);
    search.see(&stream(1, PIPE));
    (0..100_000).for_each(|number| search.see(&write(1, number, 1, 1, number)));
    assert_eq!(search.tails[0].1.entries().len(), 50);
}

#[test]
fn the_last_bytes_of_what_was_found() {
    let found = one(tail(35, 60), &three_writes());
    assert_eq!(found.last(32), [bytes(1, 28, 2, 1, 200), bytes(1, 30, 30, 1, 300)]);
    assert_eq!(found.last(30), [bytes(1, 30, 30, 1, 300)]);
    assert_eq!(found.last(1000), found.parts);
}
