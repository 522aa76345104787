//! Finds captured bytes that were written and never arrived.
//!
//! A pipe is first in, first out, so the unread bytes are the last ones written. One pass over the index finds their
//! pieces and keeps no more of each object than the requested bytes. The caller reads the bytes themselves.

mod order;
mod tail;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, object::ObjectId};

use self::{tail::TailSearch, whole::WholeSearch};
use super::{
    Reason,
    index::{Declared, Line},
};

/// Output to recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Bytes that were written to an object and never read.
    Tail {
        /// The object.
        object: ObjectId,
        /// Unread bytes, in-flight ones included.
        unread: u64,
        /// Those of them that belong to a blocked write: inside the object, and not captured.
        in_flight: u64,
        /// Bytes written to it by all processes, according to the ledger.
        written: u64,
        /// Whether its counts balance, and it is a byte stream.
        is_sure: bool,
    },
    /// All bytes that one process wrote through one fd to one object.
    Stream {
        /// The process.
        process: ProcessId,
        /// Its fd.
        fd: i32,
        /// The object.
        object: ObjectId,
    },
}

/// A range of a stream's file with bytes of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The stream's number.
    pub stream: u32,
    /// Offset in the file as it is now, after any cut from its front.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// The thread that wrote; for a whole stream, the thread of the first write.
    pub tid: u32,
    /// When the write returned, nanoseconds since boot; for a whole stream, when the first write returned.
    pub time_ns: u64,
}

/// A part of what was found, in the order of the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes.
    Bytes(Piece),
    /// Missing bytes.
    Gap {
        /// Number of bytes.
        length: u64,
        /// The reason.
        reason: Reason,
    },
}

/// Why it is uncertain that the found bytes are exactly the requested ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Bytes are missing in the capture; their place is known roughly.
    Gaps,
    /// More bytes are unread than were captured; some were inside before the trace.
    Before,
    /// Other processes wrote to it as well, and were not captured.
    Others,
    /// At its beginning, two threads wrote at the same time.
    Threads,
    /// The counts of the object do not balance, or it is no byte stream.
    Unbalanced,
    /// A write was blocked; the bytes that it had already put in were not captured.
    InFlight,
    /// The index was cut.
    Unfinished,
}

/// What the index has for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its parts, the first written first.
    pub parts: Vec<Part>,
    /// Bytes in the capture.
    pub bytes: u64,
    /// Bytes that are missing.
    pub missing: u64,
    /// The streams that the parts are from, in the order of the index.
    pub streams: Vec<u32>,
    /// Why it is uncertain; empty if it is certain.
    pub doubts: Vec<Doubt>,
}

impl Found {
    /// Whether these are certainly the requested bytes.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Its last parts, with at most `bytes` bytes in total; gaps count as 0.
    #[must_use]
    pub fn last(&self, bytes: u64) -> Vec<Part> {
        let mut room = bytes;
        let mut parts = Vec::new();
        for part in self.parts.iter().rev() {
            match part {
                Part::Gap { .. } => parts.push(*part),
                Part::Bytes(_) if room == 0 => break,
                Part::Bytes(piece) => {
                    let length = piece.length.min(room);
                    let offset = piece.offset + (piece.length - length);
                    parts.push(Part::Bytes(Piece { offset, length, ..*piece }));
                    room -= length;
                }
            }
        }
        parts.reverse();
        parts
    }
}

/// State of a stream while the index is read.
#[derive(Clone, Copy, Debug)]
struct Stream {
    process: ProcessId,
    /// Bytes cut from the front of its file, according to its last line.
    cut: Option<u64>,
    /// The same before its last line was read.
    cut_so_far: u64,
}

impl Stream {
    fn cut(&self) -> u64 {
        self.cut.unwrap_or(self.cut_so_far)
    }
}

/// Streams by number.
type Streams = BTreeMap<u32, Stream>;

/// Searches the index for several requests in one pass.
#[derive(Clone, Debug, Default)]
pub struct Search {
    streams: Streams,
    tails: Vec<(usize, TailSearch)>,
    wholes: Vec<(usize, WholeSearch)>,
    /// The searches that each stream belongs to.
    of_stream: BTreeMap<u32, Vec<Place>>,
}

/// Index of a search in the lists of [`Search`].
#[derive(Clone, Copy, Debug)]
enum Place {
    Tail(usize),
    Whole(usize),
}

impl Search {
    /// A search before the first line.
    #[must_use]
    pub fn new(wants: &[Want]) -> Self {
        let mut search = Self::default();
        for (number, want) in wants.iter().enumerate() {
            match *want {
                Want::Tail { object, unread, in_flight, written, is_sure } => {
                    let mut tail = TailSearch::new(object, unread, in_flight, written);
                    tail.is_sure = is_sure;
                    search.tails.push((number, tail));
                }
                Want::Stream { process, fd, object } => {
                    let whole = WholeSearch::new(process, fd, object);
                    search.wholes.push((number, whole));
                }
            }
        }
        search
    }

    /// Takes the next line of the index.
    pub fn see(&mut self, line: &Line) {
        match line {
            Line::Capture(_) => {}
            Line::Stream(declared) => self.declare(declared),
            Line::Write(write) => {
                let piece = Piece {
                    stream: write.stream,
                    offset: write.offset,
                    length: write.length,
                    tid: write.tid,
                    time_ns: write.time_ns,
                };
                let is_call = !write.syscall.starts_with("io_uring");
                self.add(write.stream, order::Entry::bytes(piece, is_call));
            }
            Line::Gap(gap) => self.add(gap.stream, order::Entry::gap(gap)),
            Line::End(total) => {
                if let Some(stream) = self.streams.get_mut(&total.stream) {
                    stream.cut = Some(total.cut);
                }
            }
        }
    }

    /// Sets how many bytes were cut from the front of a stream's file, for an index without the stream's last line.
    pub fn assume_cut(&mut self, stream: u32, cut: u64) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.cut_so_far = cut;
        }
    }

    /// The results, in the order of the requests. Empty for a stream that is not in the index.
    #[must_use]
    pub fn finish(self) -> Vec<Found> {
        let mut found = vec![Found::default(); self.tails.len() + self.wholes.len()];
        let tails = self.tails.into_iter().map(|(number, tail)| (number, tail.end(&self.streams)));
        let wholes =
            self.wholes.into_iter().map(|(number, whole)| (number, whole.end(&self.streams)));
        for (number, what) in tails.chain(wholes) {
            if let Some(place) = found.get_mut(number) {
                *place = what;
            }
        }
        found
    }

    fn declare(&mut self, declared: &Declared) {
        let mut places = Vec::new();
        for (place, (_, tail)) in self.tails.iter_mut().enumerate() {
            if tail.begins(declared) {
                places.push(Place::Tail(place));
            }
        }
        for (place, (_, whole)) in self.wholes.iter_mut().enumerate() {
            if whole.begins(declared) {
                places.push(Place::Whole(place));
            }
        }
        if !places.is_empty() {
            let stream = Stream { process: declared.process, cut: None, cut_so_far: 0 };
            self.streams.insert(declared.stream, stream);
            self.of_stream.insert(declared.stream, places);
        }
    }

    fn add(&mut self, stream: u32, entry: order::Entry) {
        if entry.length == 0 {
            return;
        }
        for place in self.of_stream.get(&stream).into_iter().flatten() {
            match *place {
                Place::Tail(place) => self.tails[place].1.add(entry),
                Place::Whole(place) => self.wholes[place].1.add(entry),
            }
        }
    }
}

/// Searches a complete list of lines.
#[must_use]
pub fn recover(wants: &[Want], lines: impl IntoIterator<Item = Line>) -> Vec<Found> {
    let mut search = Search::new(wants);
    lines.into_iter().for_each(|line| search.see(&line));
    search.finish()
}
