//! One line of the index as the searches keep it, and what its place in the index proves.

use super::{Found, Part, Piece, Stream, Streams};
use crate::capture::{Reason, index::Missing};

/// Bytes or a gap, where the index has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The stream's number.
    pub(super) stream: u32,
    /// The thread that wrote; `None` for a gap.
    pub(super) tid: Option<u32>,
    /// Whether it wrote in its own call: an io_uring request completes in a thread that may have written
    /// since.
    is_call: bool,
    /// Why there are no bytes.
    pub(super) reason: Option<Reason>,
    /// In the stream, before anything was cut from its front.
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

    /// Makes one of two neighbours, where that loses nothing.
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

    /// Leaves its first bytes out.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.length -= bytes;
        if self.reason.is_none() {
            self.offset += bytes;
        }
    }

    /// Whether this one was put in after `earlier`, which returned before it. The index has writes in the
    /// order in which they returned; a thread that was in its call meanwhile may have put its bytes in
    /// first.
    pub(super) fn is_after(&self, earlier: &Self, streams: &Streams) -> bool {
        let began_later = streams
            .get(&self.stream)
            .is_some_and(|stream| stream.process.start_ns >= earlier.time_ns);
        let is_next = self.tid.is_some() && self.tid == earlier.tid;
        is_next && self.is_call && earlier.is_call || began_later
    }
}

impl Found {
    /// Adds an entry, whose bytes may have been cut from the file since.
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

    /// Adds bytes that are not there.
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
