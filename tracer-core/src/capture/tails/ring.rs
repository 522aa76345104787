//! The ring of one object.

use std::{
    collections::{BTreeMap, VecDeque},
    iter,
};

use tracer_common::id::ProcessId;

use super::{Kept, TailPart};
use crate::capture::Reason;

/// One mark may stand for this many bytes of the limit at least: many small writes of several processes in turn must not
/// take more memory than their bytes.
const BYTES_OF_MARK: usize = 64;
/// The fewest marks that a ring may have.
const LEAST_MARKS: usize = 16;
/// Of how many rows the lost bytes are known.
const MOST_LOST: usize = 64;
/// The smallest allocation.
const LEAST_BYTES: usize = 64;

/// Successive bytes of one process, or a gap.
#[derive(Clone, Copy, Debug)]
struct Mark {
    process: ProcessId,
    length: u64,
    /// Why the bytes are missing; `None` if they are there.
    reason: Option<Reason>,
}

/// The last bytes that were written to an object.
#[derive(Debug)]
pub(super) struct Ring {
    /// The most bytes.
    limit: usize,
    bytes: VecDeque<u8>,
    /// Which process wrote which of the bytes, and where bytes are missing.
    marks: VecDeque<Mark>,
    /// The largest count of lost bytes of each row so far.
    lost: BTreeMap<(ProcessId, i32), u64>,
    is_cut: bool,
    is_short: bool,
    /// When something was written last, nanoseconds since boot.
    pub(super) last_ns: u64,
}

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: VecDeque::new(),
            marks: VecDeque::new(),
            lost: BTreeMap::new(),
            is_cut: false,
            is_short: false,
            last_ns: 0,
        }
    }

    /// Memory of its bytes and marks.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    /// Whether there is neither a byte nor a gap.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Takes the count of lost bytes of a row; returns how many are new.
    pub(super) fn misses(&mut self, process: ProcessId, fd: i32, lost: u64) -> u64 {
        if lost == 0 || self.lost.len() >= MOST_LOST && !self.lost.contains_key(&(process, fd)) {
            return 0;
        }
        let known = self.lost.entry((process, fd)).or_default();
        let more = lost.saturating_sub(*known);
        *known += more;
        more
    }

    /// Adds a gap.
    pub(super) fn gap(&mut self, process: ProcessId, length: u64, reason: Reason) {
        if length > 0 {
            self.mark(Mark { process, length, reason: Some(reason) });
        }
    }

    /// Adds bytes; the oldest make room for them. `room`: how much more memory it may take.
    pub(super) fn bytes(&mut self, process: ProcessId, bytes: &[u8], room: usize) {
        if bytes.is_empty() {
            return;
        }
        let limit = self.grow(self.bytes.len().saturating_add(bytes.len()), room);
        let skipped = bytes.len().saturating_sub(limit);
        let bytes = bytes.get(skipped..).unwrap_or_default();
        self.is_cut |= skipped > 0;
        self.drop_front((self.bytes.len() + bytes.len()).saturating_sub(limit));
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend(bytes);
        self.mark(Mark { process, length: bytes.len() as u64, reason: None });
    }

    /// Makes room for this many bytes, as far as that is allowed. Returns how many it may have.
    fn grow(&mut self, wanted: usize, room: usize) -> usize {
        let wanted = wanted.min(self.limit);
        let capacity = self.bytes.capacity();
        if wanted <= capacity {
            return capacity.min(self.limit);
        }
        let better = wanted.next_power_of_two().max(LEAST_BYTES).min(self.limit);
        // Its marks grow too.
        let most = capacity.saturating_add(room.saturating_sub(room / 4));
        let target = if better <= most { better } else { most.min(wanted) };
        self.is_short |= target < wanted;
        if target > capacity {
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        target.max(capacity).min(self.limit)
    }

    /// Adds a mark, to the last one if that is of the same kind.
    fn mark(&mut self, mark: Mark) {
        let is_same = |last: &Mark| (last.process, last.reason) == (mark.process, mark.reason);
        match self.marks.back_mut() {
            Some(last) if is_same(last) => last.length = last.length.saturating_add(mark.length),
            _ => self.marks.push_back(mark),
        }
        while self.marks.len() > (self.limit / BYTES_OF_MARK).max(LEAST_MARKS) {
            let length = self.marks.front().filter(|first| first.reason.is_none());
            match length.map(|first| first.length) {
                // What is in memory has a length of this type.
                Some(length) => self.drop_front(length as usize),
                None => {
                    self.marks.pop_front();
                    self.is_cut = true;
                }
            }
        }
    }

    /// Drops the oldest bytes, and the gaps before them.
    fn drop_front(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes.len());
        self.bytes.drain(..bytes);
        let mut left = bytes as u64;
        self.is_cut |= left > 0;
        while left > 0
            && let Some(first) = self.marks.front_mut()
        {
            if first.reason.is_none() && first.length > left {
                first.length -= left;
                return;
            }
            left -= if first.reason.is_none() { first.length } else { 0 };
            self.marks.pop_front();
        }
    }

    /// What is kept.
    pub(super) fn kept(&self) -> Kept {
        let mut bytes = self.bytes.iter().copied();
        let parts = self.marks.iter().map(|mark| match mark.reason {
            Some(reason) => TailPart::Gap(mark.process, mark.length, reason),
            // What is in memory has a length of this type.
            None => {
                TailPart::Bytes(mark.process, bytes.by_ref().take(mark.length as usize).collect())
            }
        });
        Kept {
            parts: parts.collect(),
            is_cut: self.is_cut,
            is_short: self.is_short,
            lost: self.lost.iter().map(|((process, fd), lost)| (*process, *fd, *lost)).collect(),
        }
    }

    /// Removes what some processes have written.
    pub(super) fn forget(&mut self, is_of: impl Fn(&ProcessId) -> bool) {
        self.lost.retain(|(process, _), _| !is_of(process));
        if !self.marks.iter().any(|mark| is_of(&mark.process)) {
            return;
        }
        let flags = self.marks.iter().flat_map(|mark| {
            let length = if mark.reason.is_none() { mark.length } else { 0 };
            iter::repeat_n(is_of(&mark.process), length as usize)
        });
        let flagged = self.bytes.iter().copied().zip(flags);
        let mut left: VecDeque<u8> =
            flagged.filter(|(_, leaves)| !leaves).map(|(byte, _)| byte).collect();
        left.shrink_to_fit();
        self.bytes = left;
        let marks = std::mem::take(&mut self.marks);
        marks.into_iter().filter(|mark| !is_of(&mark.process)).for_each(|mark| self.mark(mark));
        self.marks.shrink_to_fit();
    }
}
