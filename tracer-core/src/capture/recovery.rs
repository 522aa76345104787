//! Which captured bytes were written and never arrived.
//!
//! A pipe is first in, first out: the bytes that nobody read are the last ones written. Their pieces are
//! found in one pass over the index; of each object no more is kept than covers what is wanted. Pure: the
//! bytes themselves are read by whoever asked.

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

/// What is wanted back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// What was written to an object and never read.
    Tail {
        /// The object.
        object: ObjectId,
        /// Bytes that nobody read, those in flight included.
        unread: u64,
        /// Those of them that belong to a write that had not returned: inside, and not captured.
        in_flight: u64,
        /// Bytes that were written to it by anybody, as the ledger has them.
        written: u64,
        /// Whether its books balance, and it gives bytes in the order in which it takes them.
        is_sure: bool,
    },
    /// Everything that one process wrote through one fd to one object.
    Stream {
        /// The process.
        process: ProcessId,
        /// Its fd.
        fd: i32,
        /// The object.
        object: ObjectId,
    },
}

/// A run of bytes of one write in a stream's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The stream's number.
    pub stream: u32,
    /// Where it begins in the file as it is now, what was cut from its front already taken off.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// The thread that wrote; of a whole stream the one that wrote the first of them.
    pub tid: u32,
    /// When the write returned, nanoseconds since boot; of a whole stream the first one.
    pub time_ns: u64,
}

/// What was found, in the order of the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes.
    Bytes(Piece),
    /// Bytes that are not there.
    Gap {
        /// How many.
        length: u64,
        /// Why.
        reason: Reason,
    },
}

/// Why it is not certain that what was found is all of what is missing, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Bytes are missing in the capture; where they belong is known roughly.
    Gaps,
    /// More bytes are unread than were captured: some were inside before the trace.
    Before,
    /// Others wrote to it as well, and that was not captured.
    Others,
    /// Two threads wrote at the same time where it begins.
    Threads,
    /// The books of the object do not balance, or it is no stream of bytes.
    Unbalanced,
    /// A write had not returned: what it had put in already was not captured.
    InFlight,
    /// The index has no end.
    Unfinished,
}

/// What the index knows of one want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its parts, the first written first.
    pub parts: Vec<Part>,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that are not.
    pub missing: u64,
    /// The streams that it is from, in the order of the index.
    pub streams: Vec<u32>,
    /// Why it is not certain; empty when it is.
    pub doubts: Vec<Doubt>,
}

impl Found {
    /// Whether it is certain that these are the bytes that are wanted.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Its last parts, which together have at most so many bytes; gaps count as none.
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

/// What is known of a stream while the index is read.
#[derive(Clone, Copy, Debug)]
struct Stream {
    process: ProcessId,
    /// Bytes cut from the front of its file, once that is known.
    cut: Option<u64>,
    /// The same while its last line is not there.
    cut_so_far: u64,
}

impl Stream {
    fn cut(&self) -> u64 {
        self.cut.unwrap_or(self.cut_so_far)
    }
}

/// The streams by their numbers.
type Streams = BTreeMap<u32, Stream>;

/// Searches the index for several wants at once.
#[derive(Clone, Debug, Default)]
pub struct Search {
    streams: Streams,
    tails: Vec<(usize, TailSearch)>,
    wholes: Vec<(usize, WholeSearch)>,
    /// Searches that a stream concerns.
    of_stream: BTreeMap<u32, Vec<Place>>,
}

/// A search by its place in the lists of [`Search`].
#[derive(Clone, Copy, Debug)]
enum Place {
    Tail(usize),
    Whole(usize),
}

impl Search {
    /// A search that has seen no line yet.
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

    /// Says how much was cut from the front of a stream's file, for an index that was cut before its
    /// last line could say so.
    pub fn assume_cut(&mut self, stream: u32, cut: u64) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.cut_so_far = cut;
        }
    }

    /// What was found, in the order of the wants. Nothing is found of a stream that is not in the index.
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

/// What an index knows of each want.
#[must_use]
pub fn recover(wants: &[Want], lines: impl IntoIterator<Item = Line>) -> Vec<Found> {
    let mut search = Search::new(wants);
    lines.into_iter().for_each(|line| search.see(&line));
    search.finish()
}
