//! What tracer and the process of the folder send to each other: frames, each with its kind and its length.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

use serde::{Deserialize, Serialize};

use crate::capture::{Options, stored::FilePart};

/// Bytes of a frame's kind and length.
pub(super) const HEADER: usize = 9;
/// The longest frame, in bytes: it is longer than any record of the ring, any summary and any part that is read.
const LONGEST: u64 = 1 << 30;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// An [`Order`], or the answer to one, as JSON.
    Json = b'j',
    /// A record of the ring.
    Record = b'r',
    /// The rows of the ledger, as JSON: no further record follows.
    Rows = b'l',
    /// Bytes of a file.
    Bytes = b'b',
    /// The process has done a part of its work.
    Progress = b'.',
    /// There is no time left for the disk: what waits for it is to become gaps. Follows the rows.
    Cut = b'c',
}

impl Kind {
    fn of(byte: u8) -> io::Result<Self> {
        let all = [Self::Json, Self::Record, Self::Rows, Self::Bytes, Self::Progress, Self::Cut];
        let found = all.into_iter().find(|kind| *kind as u8 == byte);
        found.ok_or_else(|| io::Error::other(format!("no frame begins with {byte}")))
    }
}

/// What the process is asked to do. Each has one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Create the folders.
    Open,
    /// Create the index, and store the records that follow the answer. The rows have an answer of their own: the summary.
    Store(Options),
    /// Read from an offset, at most as many bytes.
    Read { name: String, offset: u64, most: u64 },
    /// Read a part of a file.
    ReadPart(FilePart),
    /// Write a recovered loss into a file.
    Recover { of: String, parts: Vec<FilePart> },
    /// Remove these files, and the folders if they were created and are empty.
    TakeBack(Vec<String>),
}

/// The first bytes of a frame.
pub(super) fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    let mut header = [kind as u8; HEADER];
    header[1..].copy_from_slice(&(length as u64).to_ne_bytes());
    header
}

/// Kind and length of the frame that begins with these bytes.
pub(super) fn parse(header: [u8; HEADER]) -> io::Result<(Kind, usize)> {
    let [kind, length @ ..] = header;
    let (kind, length) = (Kind::of(kind)?, u64::from_ne_bytes(length));
    if length > LONGEST {
        return Err(io::Error::other(format!("a frame of {length} B")));
    }
    Ok((kind, length as usize))
}

/// Sends a frame.
pub(super) fn send(mut to: impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&header(kind, bytes.len()))?;
    to.write_all(bytes)
}

/// Sends a message as JSON.
pub(super) fn send_json(to: impl Write, kind: Kind, message: &impl Serialize) -> io::Result<()> {
    send(to, kind, &serde_json::to_vec(message)?)
}

/// Receives an order. An error if tracer has ended.
pub(super) fn order(mut from: &UnixStream) -> io::Result<Order> {
    let mut first = [0; HEADER];
    from.read_exact(&mut first)?;
    let (_, length) = parse(first)?;
    let mut json = vec![0; length];
    from.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_kind_and_length() {
        let all = [Kind::Json, Kind::Record, Kind::Rows, Kind::Bytes, Kind::Progress, Kind::Cut];
        for kind in all {
            assert_eq!(parse(header(kind, 70_000)).unwrap(), (kind, 70_000));
        }
        assert!(parse(header(Kind::Json, usize::MAX)).is_err());
        assert!(parse([0; HEADER]).is_err());
    }
}
