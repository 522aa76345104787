//! Finds all bytes that one process wrote through one fd to one object.

use std::collections::VecDeque;

use tracer_common::{id::ProcessId, object::ObjectId};

use super::{Doubt, Found, Streams, order::Entry};
use crate::capture::{Reason, index::Declared};

/// Maximal number of parts of a stream; beyond it, the positions of the oldest gaps are dropped.
const MAX_PARTS: usize = 4096;

/// The bytes of a stream are one range of its file; only the positions of its gaps are kept.
#[derive(Clone, Debug)]
pub(super) struct WholeSearch {
    process: ProcessId,
    fd: i32,
    object: ObjectId,
    stream: Option<u32>,
    entries: VecDeque<Entry>,
    /// Bytes in gaps whose position was dropped.
    forgotten: u64,
}

impl WholeSearch {
    pub(super) fn new(process: ProcessId, fd: i32, object: ObjectId) -> Self {
        let entries = VecDeque::new();
        Self { process, fd, object, stream: None, entries, forgotten: 0 }
    }

    /// Whether this is the stream.
    pub(super) fn begins(&mut self, stream: &Declared) -> bool {
        let is_mine = (stream.process, stream.fd, stream.object)
            == (self.process, self.fd, self.object)
            && self.stream.is_none();
        if is_mine {
            self.stream = Some(stream.stream);
        }
        is_mine
    }

    pub(super) fn add(&mut self, entry: Entry) {
        let joined = self.entries.back_mut().is_some_and(|last| last.join(&entry, false));
        if !joined {
            self.entries.push_back(entry);
        }
        if self.entries.len() > MAX_PARTS {
            self.forget_first_gap();
        }
    }

    /// Bytes and gaps alternate, so one of the first two parts is a gap; the parts around it are merged.
    fn forget_first_gap(&mut self) {
        let Some(place) = self.entries.iter().position(|entry| entry.reason.is_some()) else {
            return;
        };
        if let Some(gap) = self.entries.remove(place) {
            self.forgotten = self.forgotten.saturating_add(gap.length);
        }
        let Some(before) = place.checked_sub(1) else { return };
        if let (Some(mut earlier), Some(later)) =
            (self.entries.get(before).copied(), self.entries.get(place).copied())
            && earlier.join(&later, false)
        {
            self.entries[before] = earlier;
            self.entries.remove(place);
        }
    }

    pub(super) fn end(self, streams: &Streams) -> Found {
        let mut found = Found::default();
        let Some(stream) = self.stream else { return found };
        found.push_gap(self.forgotten, Reason::default());
        self.entries.iter().for_each(|entry| found.push(entry, streams));
        if found.missing > 0 {
            found.doubts.push(Doubt::Gaps);
        }
        if streams.get(&stream).is_none_or(|stream| stream.cut.is_none()) {
            found.doubts.push(Doubt::Unfinished);
        }
        found
    }
}
