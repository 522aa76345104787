//! One line of the index as the searches keep it, and what its position in the index proves.

use super::{Found, Part, Piece, Stream, Streams};
use crate::capture::{Reason, index::Missing};

/// Bytes or a gap of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The stream's number.
    pub(super) stream: u32,
    /// The thread that wrote; `None` for a gap.
    pub(super) tid: Option<u32>,
    /// Whether the thread wrote in its own call. An io_uring request completes in a thread that may have written
    /// since.
    is_call: bool,
    /// Why the bytes are missing; `None` for bytes.
    pub(super) reason: Option<Reason>,
    /// Offset in the stream, before any cut from the front of the file.
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) time_ns: u64,
}

impl Entry {
    pub(super) fn bytes(piece: Piece, is_call: bool) -> Self {
        let Piece { stream, offset, length, tid, time_ns } = piece;
        Self { stream, tid: Some(tid), is_call, reason: None, offset, length, time_ns }
    }

    pub(super) fn gap(gap: &Missing) -> Self {
        Self {
            stream: gap.stream,
            tid: None,
            is_call: true,
            reason: Some(gap.reason),
            offset: gap.offset,
            length: gap.length,
            time_ns: gap.time_ns,
        }
    }

    /// Whether both are parts of one write.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.tid.is_some() && (self.tid, self.time_ns) == (other.tid, other.time_ns)
    }

    /// Merges the next entry into this one, if that loses no information.
    pub(super) fn join(&mut self, next: &Self, of_one_write: bool) -> bool {
        let fits = self.stream == next.stream
            && self.reason == next.reason
            && match self.reason {
                Some(_) => true,
                None => self.offset + self.length == next.offset,
            };
        if fits && (self.reason.is_some() || !of_one_write || self.is_of(next)) {
            self.length = self.length.saturating_add(next.length);
            if self.reason.is_some() {
                self.time_ns = next.time_ns;
            }
            return true;
        }
        false
    }

    /// Drops its first bytes.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.length -= bytes;
        if self.reason.is_none() {
            self.offset += bytes;
        }
    }

    /// Whether these bytes were certainly put into the object after those of `earlier`, which returned before. The
    /// index has writes in the order in which they returned; a thread that was inside its call at the same time may
    /// have put in its bytes first.
    pub(super) fn is_after(&self, earlier: &Self, streams: &Streams) -> bool {
        let began_later = streams
            .get(&self.stream)
            .is_some_and(|stream| stream.process.start_ns >= earlier.time_ns);
        let is_next = self.tid.is_some() && self.tid == earlier.tid;
        is_next && self.is_call && earlier.is_call || began_later
    }
}

impl Found {
    /// Adds an entry; its bytes may have been cut from the file since.
    pub(super) fn push(&mut self, entry: &Entry, streams: &Streams) {
        if !self.streams.contains(&entry.stream) {
            self.streams.push(entry.stream);
        }
        let Some(tid) = entry.tid else {
            return self.push_gap(entry.length, entry.reason.unwrap_or_default());
        };
        let cut = streams.get(&entry.stream).map_or(0, Stream::cut);
        let gone = cut.saturating_sub(entry.offset).min(entry.length);
        self.push_gap(gone, Reason::Limit);
        if gone < entry.length {
            let length = entry.length - gone;
            self.bytes += length;
            self.parts.push(Part::Bytes(Piece {
                stream: entry.stream,
                offset: entry.offset + gone - cut,
                length,
                tid,
                time_ns: entry.time_ns,
            }));
        }
    }

    /// Adds missing bytes.
    pub(super) fn push_gap(&mut self, length: u64, reason: Reason) {
        if length == 0 {
            return;
        }
        self.missing = self.missing.saturating_add(length);
        match self.parts.last_mut() {
            Some(Part::Gap { length: known, reason: same }) if *same == reason => {
                *known = known.saturating_add(length);
            }
            _ => self.parts.push(Part::Gap { length, reason }),
        }
    }
}
