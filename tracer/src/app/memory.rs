//! `--max-memory`: how much memory the session of a trace may take. Beyond it, processes that have ended are summed up.

use tracer_common::object::ObjectId;
use tracer_core::session::Session;

use super::replay::memory;

/// The session is measured after this many events at the earliest, because that walks over all of it.
const AT_LEAST: u64 = 1024;
/// Memory that one event takes at most, apart from rare ones: a process with 4 KiB of arguments.
const EACH_EVENT: u64 = 8 << 10;

/// Without an option, a trace may take one part in this many of what `tracer report` may take: it must not crowd out what
/// it watches.
const SHARE: u64 = 4;

/// The limit of one trace.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    bytes: u64,
    /// Pids of the processes that the user named.
    keep: Vec<u32>,
    /// How many more events may come before the session is measured again.
    until_measured: u64,
}

impl MemoryLimit {
    /// A limit of this many bytes, else of a part of the machine's memory; processes with these pids are never summed up.
    pub(super) fn new(bytes: Option<u64>, keep: Vec<u32>) -> Self {
        let bytes = bytes.unwrap_or_else(|| memory() / SHARE);
        Self { bytes, keep, until_measured: AT_LEAST }
    }

    /// An event or a row was added.
    pub(super) fn added(&mut self) {
        self.until_measured = self.until_measured.saturating_sub(1);
    }

    /// Sums up if the session takes too much. `is_watched`: whether an object has not ended.
    pub(super) fn keep_to(
        &mut self,
        session: &mut Session,
        is_watched: impl Fn(&ObjectId) -> bool,
    ) {
        if self.until_measured > 0 {
            return;
        }
        let mut used = session.memory();
        if used > self.bytes {
            // A quarter more, so that this is not done again soon.
            session.sum_up(used - self.bytes / 4 * 3, &self.keep, is_watched);
            used = session.memory();
            tracing::debug!(used, limit = self.bytes, "summed up processes that have ended");
        }
        let size = session.processes.len() as u64 / 8;
        let room = self.bytes.saturating_sub(used) / EACH_EVENT;
        self.until_measured = AT_LEAST.max(size).max(room);
    }
}
