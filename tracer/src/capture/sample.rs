//! Samples for the tests of several modules: chunks, and records in the form of the ring.

use bytes::Bytes;
use tracer_common::{
    capture::{self as layout, gap},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE},
    object::ObjectId,
    op,
};
use tracer_core::capture::{
    INDEX,
    chunk::{self, Chunk},
    index::{Line, Reader},
    summary::{StreamSummary, Tally},
};

use super::folder::Folder;

/// A row of process 71.
pub(super) fn key(fd: i32) -> LedgerKey {
    let object = ObjectId { ino: 88 + u64::from(fd as u32), dev: 9, discriminator: 0 };
    LedgerKey { process: ProcessId::new(71, 5), object, fd, direction: WRITE }
}

/// A ledger row.
pub(super) fn row(bytes: u64, uncaptured: u64) -> LedgerRow {
    LedgerRow { bytes, uncaptured, last_ns: 99, ..LedgerRow::ZERO }
}

/// A record with bytes.
pub(super) fn record(key: &LedgerKey, lost: u64, bytes: &[u8]) -> Vec<u8> {
    encode(key, lost, (gap::NONE, bytes.len() as u64), bytes)
}

/// A record of a copy within the kernel.
pub(super) fn copied(key: &LedgerKey, length: u64) -> Vec<u8> {
    encode(key, 0, (gap::COPIED, length), b"")
}

/// A record, decoded.
pub(super) fn chunk(record: Vec<u8>) -> Chunk {
    chunk::decode(&Bytes::from(record)).unwrap()
}

fn encode(key: &LedgerKey, lost: u64, (gap, length): (u32, u64), bytes: &[u8]) -> Vec<u8> {
    let mut record = 7u64.to_ne_bytes().to_vec();
    record.extend([layout::KIND, bytes.len() as u32].map(u32::to_ne_bytes).concat());
    record.extend(key.process.start_ns.to_ne_bytes());
    record.extend([key.process.tgid, 0].map(u32::to_ne_bytes).concat());
    record.extend(key.object.ino.to_ne_bytes());
    record.extend([key.object.dev, 0, key.fd as u32, key.direction].map(u32::to_ne_bytes).concat());
    record.extend([lost, length].map(u64::to_ne_bytes).concat());
    record.extend([72, op::WRITE, gap, 4].map(u32::to_ne_bytes).concat());
    record.extend([99u64.to_ne_bytes(), [9, 0, 0, 0, 0, 0, 0, 0]].concat());
    record.extend(b"docker\0\0\0\0\0\0\0\0\0\0");
    record.extend(bytes);
    record
}

/// The lines of a folder's index.
pub(super) fn lines(folder: &Folder) -> Vec<Line> {
    let index = folder.open_file(INDEX).unwrap();
    let mut reader = Reader::new(std::io::BufReader::new(index)).unwrap();
    let lines = reader.by_ref().collect();
    assert_eq!((reader.damaged(), reader.is_cut()), (0, false));
    lines
}

/// The sums of a folder's index.
pub(super) fn read_again(folder: &Folder) -> Vec<StreamSummary> {
    let index = folder.open_file(INDEX).unwrap();
    let reader = Reader::new(std::io::BufReader::new(index)).unwrap();
    let mut tally = Tally::new(reader.head().limit, reader.head().keep);
    reader.for_each(|line| tally.add(&line));
    tally.finish()
}
