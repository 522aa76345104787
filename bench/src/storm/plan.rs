//! The storms, and what is expected of each.

use crate::harness::table::whole;

/// The name of the long storm, which is not in [`ALL`].
pub(crate) const SOAK: &str = "soak";
/// The name of the course of short processes.
pub(crate) const CHURN: &str = "churn";

/// What may be missing in tracer's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing.
    Exact,
    /// As many processes as a full table refused.
    Processes,
    /// As many bytes as found no row.
    Rows,
}

/// A storm.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What the number in `work` counts.
    pub(super) of: &'static str,
    /// The loop of `load`, and its number of processes, pipes, seconds or the like.
    pub(super) work: (&'static str, u64),
    /// Additional arguments of tracer.
    pub(super) arguments: &'static [&'static str],
    /// What may be missing in the report.
    pub(super) expect: Expect,
}

impl Plan {
    /// A description.
    pub(super) fn description(&self) -> String {
        let much = format!("{} {}", whole(self.work.1), self.of);
        if self.arguments.is_empty() {
            much
        } else {
            format!("{much}, `{}`", self.arguments.join(" "))
        }
    }
}

/// All storms except the soak.
pub(super) const ALL: [Plan; 7] = [
    Plan {
        name: "brief",
        of: "short processes, each with one write",
        work: ("brief", 50_000),
        arguments: &[],
        expect: Expect::Exact,
    },
    Plan {
        name: "busy",
        of: "seconds of writers on every CPU",
        work: ("busy", 60),
        arguments: &[],
        expect: Expect::Exact,
    },
    Plan {
        name: "pipes",
        of: "pipes, all open at once",
        work: ("pipes", 10_000),
        arguments: &[],
        expect: Expect::Exact,
    },
    Plan {
        name: "threads",
        of: "threads on one fd",
        work: ("threads", 1_000),
        arguments: &[],
        expect: Expect::Exact,
    },
    Plan {
        name: "bomb",
        of: "generations of a fork bomb",
        work: ("bomb", 13),
        arguments: &[],
        expect: Expect::Exact,
    },
    Plan {
        name: "small process table",
        of: "processes at once",
        work: ("crowd", 5_000),
        arguments: &["--max-processes", "1000"],
        expect: Expect::Processes,
    },
    Plan {
        name: "small object table",
        of: "unread pipes",
        work: ("unread", 10_000),
        arguments: &["--max-objects", "1000"],
        expect: Expect::Rows,
    },
];
