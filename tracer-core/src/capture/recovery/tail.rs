//! Finds the last bytes that were written to an object.

use std::collections::{BTreeSet, VecDeque};

use tracer_common::object::ObjectId;

use super::{Doubt, Found, Streams, order::Entry};
use crate::capture::{Reason, index::Declared};

/// Keeps the last entries that cover the requested bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct TailSearch {
    object: ObjectId,
    /// Requested bytes that were captured or should have been.
    wanted: u64,
    in_flight: u64,
    /// Whether the counts balance.
    pub(super) is_sure: bool,
    /// Bytes written by all writers, according to the ledger.
    written: u64,
    entries: VecDeque<Entry>,
    /// Bytes in `entries`.
    held: u64,
    /// Bytes in all entries so far.
    seen: u64,
    streams: Vec<u32>,
    /// The latest entry that was dropped, and the latest dropped entry of another write.
    left: Option<Entry>,
    left_before: Option<Entry>,
}

impl TailSearch {
    pub(super) fn new(object: ObjectId, unread: u64, in_flight: u64, written: u64) -> Self {
        let wanted = unread.saturating_sub(in_flight);
        let in_flight = in_flight.min(unread);
        Self { object, wanted, in_flight, written, is_sure: true, ..Self::default() }
    }

    /// Whether this stream writes to the object.
    pub(super) fn begins(&mut self, stream: &Declared) -> bool {
        let is_mine = stream.object == self.object;
        if is_mine {
            self.streams.push(stream.stream);
        }
        is_mine
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.seen = self.seen.saturating_add(entry.length);
        self.held = self.held.saturating_add(entry.length);
        let joined = self.entries.back_mut().is_some_and(|last| last.join(&entry, true));
        if !joined {
            self.entries.push_back(entry);
        }
        while let Some(first) = self.entries.front().filter(|first| self.covers_without(first)) {
            self.held -= first.length;
            if let Some(left) = self.left.filter(|left| !left.is_of(first)) {
                self.left_before = Some(left);
            }
            self.left = self.entries.pop_front();
        }
    }

    fn covers_without(&self, first: &Entry) -> bool {
        self.held - first.length >= self.wanted
    }

    pub(super) fn end(mut self, streams: &Streams) -> Found {
        let mut found = Found::default();
        if self.streams.is_empty() {
            return found;
        }
        let doubts = self.doubts(streams);
        // Bytes that were inside before the trace come first.
        found.push_gap(self.wanted.saturating_sub(self.seen), Reason::Unexplained);
        let surplus = self.held.saturating_sub(self.wanted);
        if let Some(first) = self.entries.front_mut() {
            first.skip(surplus);
        }
        let entries = self.entries.iter().filter(|entry| entry.length > 0);
        entries.for_each(|entry| found.push(entry, streams));
        found.push_gap(self.in_flight, Reason::Unexplained);
        found.doubts = doubts;
        found
    }

    fn doubts(&self, streams: &Streams) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let is_whole = self.seen == self.wanted;
        let mut doubt = |applies: bool, doubt: Doubt| {
            if applies {
                doubts.push(doubt);
            }
        };
        let has_gaps = self.has_gaps();
        doubt(!is_whole && has_gaps, Doubt::Gaps);
        doubt(self.seen < self.wanted, Doubt::Before);
        doubt(self.seen < self.written, Doubt::Others);
        doubt(!is_whole && !has_gaps && !self.is_ordered(streams), Doubt::Threads);
        doubt(!self.is_sure, Doubt::Unbalanced);
        doubt(self.in_flight > 0, Doubt::InFlight);
        let ended = |stream: &u32| streams.get(stream).is_some_and(|stream| stream.cut.is_some());
        doubt(!self.streams.iter().all(ended), Doubt::Unfinished);
        doubts
    }

    /// The held entries.
    #[cfg(test)]
    pub(super) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    fn has_gaps(&self) -> bool {
        self.entries.iter().any(|entry| entry.reason.is_some())
    }

    /// Whether no entry after the boundary can have been put in before an entry in front of it.
    fn is_ordered(&self, streams: &Streams) -> bool {
        let Some(first) = self.entries.front() else { return true };
        let is_split =
            self.held > self.wanted || self.left.as_ref().is_some_and(|left| left.is_of(first));
        let before = match &self.left {
            Some(left) if left.is_of(first) => self.left_before.as_ref(),
            left => left.as_ref(),
        };
        if is_split && before.is_some_and(|before| !first.is_after(before, streams)) {
            return false;
        }
        let Some(boundary) = (if is_split { Some(first) } else { before }) else { return true };
        // Only the first write of each thread after the boundary matters: its later writes began after it.
        let mut threads = BTreeSet::new();
        let behind = self.entries.iter().filter(|entry| !is_split || !entry.is_of(first));
        behind
            .filter(|entry| entry.reason.is_none() && threads.insert(entry.tid))
            .all(|entry| entry.is_after(boundary, streams))
    }
}
