//! Who could read an object, and who gave that up: closed the fd, or ended.

use tracer_common::{
    id::ProcessId,
    object::{ObjectId, PipeState},
};

use super::{Holding, Session};

/// A reading end that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// By whom.
    pub process: ProcessId,
    /// Its name.
    pub comm: String,
    /// Through which fd it could read.
    pub fd: i32,
    /// When, nanoseconds since boot.
    pub time_ns: u64,
    /// Whether the process ended with the fd open, rather than closing it.
    pub by_exit: bool,
}

/// A pipe's buffer as the kernel side saw it at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeSeen {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// The buffer.
    pub state: PipeState,
}

impl Session {
    /// Who gave up a reading end of an object, in order.
    #[must_use]
    pub fn closes(&self, object: &ObjectId) -> &[Close] {
        self.closes.get(object).map_or(&[], Vec::as_slice)
    }

    /// Who gave up the last known reading end; `None` while somebody still holds one.
    #[must_use]
    pub fn last_closer(&self, object: &ObjectId) -> Option<&Close> {
        let is_open = self.ends.values().any(|open| open == object)
            || self.holders(object).any(Holding::reads);
        if is_open { None } else { self.closes(object).last() }
    }

    /// Who holds an object open: as of the latest survey, without those who gave it up since.
    pub fn holders(&self, object: &ObjectId) -> impl Iterator<Item = &Holding> {
        let closes = self.closes(object);
        let gave_up = |held: &Holding| {
            closes.iter().any(|close| {
                close.process == held.process
                    && close.fd == held.fd
                    && close.time_ns >= held.time_ns
            })
        };
        let has_ended = |held: &Holding| {
            self.processes.get(&held.process).is_some_and(|process| process.end_ns.is_some())
        };
        let known = self.objects.get(object).into_iter().flat_map(|object| &object.holders);
        known.filter(move |held| !gave_up(held) && !has_ended(held))
    }

    /// The latest sight of a pipe's buffer.
    #[must_use]
    pub fn pipe_seen(&self, object: &ObjectId) -> Option<PipeSeen> {
        self.pipes.get(object).copied()
    }

    /// Whether a pipe that the target wrote to still has bytes for a reader that could take them.
    #[must_use]
    pub fn has_bytes_underway(&self) -> bool {
        self.pipes.iter().any(|(object, seen)| {
            let is_own = self.objects.get(object).is_some_and(|known| known.hop == 0);
            is_own && seen.state.unread > 0 && self.holders(object).any(Holding::reads)
        })
    }

    /// The reading ends that a process has open, as far as events tell: fds and what they lead to.
    pub fn open_ends(&self, process: ProcessId) -> impl Iterator<Item = (i32, ObjectId)> {
        let range = (process, i32::MIN)..=(process, i32::MAX);
        self.ends.range(range).map(|((_, fd), object)| (*fd, *object))
    }

    /// Notes that a process can read an object through this fd.
    pub(super) fn end_opened(&mut self, process: ProcessId, fd: i32, object: ObjectId) {
        self.ends.insert((process, fd), object);
    }

    pub(super) fn end_closed(&mut self, object: ObjectId, close: Close) {
        self.ends.remove(&(close.process, close.fd));
        self.closes.entry(object).or_default().push(close);
    }

    /// A process that ends closes everything.
    pub(super) fn ends_of_the_dead(&mut self, process: ProcessId, comm: &str, time_ns: u64) {
        let open: Vec<(i32, ObjectId)> = self.open_ends(process).collect();
        for (fd, object) in open {
            let close = Close { process, comm: comm.to_owned(), fd, time_ns, by_exit: true };
            self.end_closed(object, close);
        }
    }

    pub(super) fn saw_pipe(&mut self, object: ObjectId, state: PipeState, time_ns: u64) {
        let known = self.pipes.get(&object).map_or(0, |seen| seen.time_ns);
        if state.valid == 1 && time_ns >= known {
            self.pipes.insert(object, PipeSeen { time_ns, state });
        }
    }
}
