//! Holders: processes that hold an object open, as found by a survey.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::id::ProcessId;

/// A process that holds an object open.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// The process.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// Its fd.
    pub fd: i32,
    /// `file.f_flags`.
    pub flags: u32,
    /// When that was seen, nanoseconds since boot.
    pub time_ns: u64,
}

/// The holders of one object in the order in which they were seen. There can be as many as processes, if a whole tree
/// has inherited the object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holders {
    /// `None` if the same fd was seen again later.
    seen: Vec<Option<Holding>>,
    /// Index of each fd in `seen`.
    places: BTreeMap<(ProcessId, i32), usize>,
}

impl Holders {
    /// Adds a holder; for each fd the latest one counts.
    pub(super) fn saw(&mut self, holding: Holding) {
        let place = self.seen.len();
        let before = self.places.insert((holding.process, holding.fd), place);
        if let Some(before) = before.and_then(|before| self.seen.get_mut(before)) {
            *before = None;
        }
        self.seen.push(Some(holding));
    }

    /// Removes the holders that are these processes.
    pub(super) fn forget(&mut self, gone: &BTreeSet<ProcessId>) {
        let seen = std::mem::take(self).seen.into_iter().flatten();
        seen.filter(|held| !gone.contains(&held.process)).for_each(|held| self.saw(held));
    }

    /// Removes all holders.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a process holds the object at this fd.
    pub(super) fn has(&self, process: ProcessId, fd: i32) -> bool {
        self.places.contains_key(&(process, fd))
    }

    /// All holders.
    pub fn iter(&self) -> impl Iterator<Item = &Holding> {
        self.seen.iter().flatten()
    }
}

/// `O_ACCMODE` and its values (`open(2)`).
const ACCESS_MODE: u32 = 3;
const WRITE_ONLY: u32 = 1;
const READ_WRITE: u32 = 2;

/// Whether an open file with these `f_flags` can be read from.
pub(super) fn can_read(flags: u32) -> bool {
    flags & ACCESS_MODE != WRITE_ONLY
}

/// Whether an open file with these `f_flags` can be read from and written to.
pub(crate) fn is_read_write(flags: u32) -> bool {
    flags & ACCESS_MODE == READ_WRITE
}

impl Holding {
    /// Whether it can read from the object.
    #[must_use]
    pub fn reads(&self) -> bool {
        can_read(self.flags)
    }

    /// `read`, `write` or `both`.
    #[must_use]
    pub fn access(&self) -> &'static str {
        match self.flags & ACCESS_MODE {
            WRITE_ONLY => "write",
            READ_WRITE => "both",
            _ => "read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_fd_the_latest_holder_counts_and_comes_last() {
        let sight = |tgid, time_ns| Holding {
            process: ProcessId::new(tgid, 1),
            comm: String::new(),
            fd: 1,
            flags: 0,
            time_ns,
        };
        let mut holders = Holders::default();
        for (tgid, time_ns) in [(1, 10), (2, 11), (1, 12)] {
            holders.saw(sight(tgid, time_ns));
        }
        let seen: Vec<_> = holders.iter().map(|held| (held.process.tgid, held.time_ns)).collect();
        assert_eq!(seen, [(2, 11), (1, 12)]);
    }
}
