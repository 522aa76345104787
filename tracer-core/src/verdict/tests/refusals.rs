//! Writes whose reader had left: who lost what, and what is as meant.

use tracer_common::{
    ledger::{LedgerRow, error},
    object::ObjectId,
};

use super::{scene::*, silence::check};
use crate::verdict::Severity::Loss;

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
