//! When a trace is over: its target has ended, and readers have read what it wrote.

use std::time::{Duration, Instant};

use super::Run;
use crate::{launch::Running, target::PinnedProcess};

/// How long readers may take to read the rest after the target has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long the processes after these readers may take: a manager that answers, an engine that logs.
const SETTLE: Duration = Duration::from_secs(1);

impl Run {
    /// Whether every process of the target has ended, and the container that a command had docker start; of a command
    /// with other targets, the command itself.
    pub(super) fn is_over(
        &mut self,
        running: Option<&mut Running>,
        pids: &[PinnedProcess],
    ) -> bool {
        if let Some(running) = running {
            // Reaps the command, so that it is no zombie while its children run.
            let has_ended = !matches!(running.try_wait(), Ok(None));
            if !self.cgroups.is_empty() || !pids.is_empty() {
                return has_ended;
            }
            if self.newcomer.keeps_trace_open(has_ended) {
                return false;
            }
        }
        // An empty cgroup may get new processes: `docker exec` into a container, a service between two jobs.
        if self.cgroups.iter().any(|path| path.exists()) {
            return false;
        }
        let roots_ended = pids.iter().all(|pinned| pinned.has_ended().unwrap_or(true));
        if !roots_ended || pids.is_empty() && !self.cgroups.is_empty() {
            return roots_ended;
        }
        if !self.collector.target_has_ended() {
            return false;
        }
        // A process that has ended may have left children whose records are still in the ring.
        self.collect_waiting() && self.collector.target_has_ended()
    }

    /// Whether the readers have read what the target wrote, or had enough time for it.
    pub(super) fn is_drained(&mut self) -> bool {
        let over_since = *self.over_since.get_or_insert_with(Instant::now);
        let waited = over_since.elapsed();
        let at_least = if self.settle { SETTLE } else { Duration::ZERO };
        let is_told = self.guests.are_closed();
        let has_rest = self.collector.session.has_bytes_underway() || !is_told;
        waited >= GRACE || waited >= at_least && !has_rest
    }
}
