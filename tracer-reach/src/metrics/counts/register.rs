//! The names and descriptions of all metrics.

use prometheus_client::{metrics::info::Info, registry::Unit};

use super::{About, Counts, History, Missing, State, Streams};
use crate::metrics::labels::OfBuild;

impl Counts {
    /// Registers what is known of commands.
    pub(super) fn register_commands(&mut self) {
        let Streams { written, delivered, discarded, unknown, refused, lost } = &self.streams;
        let registry = &mut self.registry;
        for (name, help, table) in [
            (
                "written",
                "Bytes that commands wrote to stdout and stderr, as counted in the kernel",
                written,
            ),
            (
                "delivered",
                "Bytes that a process read, that are in a file, or that a device took",
                delivered,
            ),
            (
                "discarded",
                "Bytes written to /dev/null, or left to a reader that had enough",
                discarded,
            ),
            (
                "unknown",
                "Bytes of ended commands of which it is not known what became of them",
                unknown,
            ),
            (
                "refused",
                "Bytes that the kernel refused, and that were not written again; they are not in tracer_written_bytes_total",
                refused,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, table.clone());
        }
        let help = "Bytes that no process can read any more, or that waited unread when their command had ended, by the rule that found it";
        registry.register_with_unit("lost", help, Unit::Bytes, lost.clone());
        let help = "Commands about which a rule has reported something, each once for each rule";
        registry.register("findings", help, self.findings.clone());
        let help = "Commands that have ended and were judged, by how they ended: succeeded, failed, killed or unknown";
        registry.register("commands", help, self.commands.clone());
        let help = "Commands that were judged although something of them was not counted";
        registry.register("incomplete_commands", help, self.incomplete.clone());
        let help = "Threads that are blocked in a write for more than five seconds";
        registry.register("blocked_writers", help, self.state.blocked.clone());
        let help = "For how long the longest of them is blocked";
        registry.register_with_unit(
            "blocked",
            help,
            Unit::Seconds,
            self.state.blocked_seconds.clone(),
        );
    }

    /// Registers what is known of the recorder itself.
    pub(super) fn register_recorder(&mut self, about: &About) {
        let registry = &mut self.registry;
        let build = Info::new(OfBuild { version: about.version.clone() });
        registry.register("build", "The version of tracer", build);
        let State { recording, start, heartbeat, processes, session, .. } = &self.state;
        registry.register("recording", "1 while tracer is attached", recording.clone());
        let help = "When tracer was attached, in seconds since 1970";
        registry.register("recording_start_timestamp_seconds", help, start.clone());
        let help = "When the recorder was last at work, in seconds since 1970";
        registry.register("heartbeat_timestamp_seconds", help, heartbeat.clone());
        registry.register("processes", "Processes that run and are recorded", processes.clone());
        let help = "Memory for processes and pipes of commands that are not judged yet";
        registry.register_with_unit("session_memory", help, Unit::Bytes, session.clone());
        let History { size, limit, oldest, entries, missed } = &self.history;
        registry.register_with_unit(
            "history_size",
            "Size of the history",
            Unit::Bytes,
            size.clone(),
        );
        let help = "Size beyond which the oldest entries are removed";
        registry.register_with_unit("history_limit", help, Unit::Bytes, limit.clone());
        let help =
            "When the oldest entry of the history ended, in seconds since 1970; 0 if there is none";
        registry.register("history_oldest_timestamp_seconds", help, oldest.clone());
        registry.register(
            "history_entries",
            "Entries that were written into the history",
            entries.clone(),
        );
        let help = "Entries that the history did not take, by reason";
        registry.register("history_missed_entries", help, missed.clone());
        let Missing { gaps, losses, bytes, dropped, folded, places } = &self.missing;
        let help = "Times in which something was not recorded, by reason";
        registry.register("gaps", help, gaps.clone());
        let help = "Events and commands that the recorder missed, by reason";
        registry.register("recorder_losses", help, losses.clone());
        let help = "Bytes that these stood for, as far as that is known";
        registry.register_with_unit("recorder_lost", help, Unit::Bytes, bytes.clone());
        let help = "Commands, gaps and states that came too fast for these metrics";
        registry.register("metrics_dropped", help, dropped.clone());
        let help =
            "Commands that were counted under the names `other`, because of the limit of series";
        registry.register("folded_commands", help, folded.clone());
        let help = "Places (namespace, workload and container) that have series of their own";
        registry.register("places", help, places.clone());
    }
}
