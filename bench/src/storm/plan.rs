//! Which storms there are, and what is expected of each.

use crate::harness::table::whole;

/// The name of the long one.
pub(crate) const SOAK: &str = "soak";

/// What a report may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing.
    Exact,
    /// Processes, as many as were refused by a full table.
    Processes,
    /// Bytes, as many as found no row.
    Rows,
}

/// One storm.
#[derive(Debug)]
pub(super) struct Plan {
    /// What it is asked for by.
    pub(super) name: &'static str,
    /// Of how many of what.
    pub(super) of: &'static str,
    /// The loop of `load`, and how much of it.
    pub(super) work: (&'static str, u64),
    /// tracer gets these arguments as well.
    pub(super) arguments: &'static [&'static str],
    /// What may be missing.
    pub(super) expect: Expect,
}

impl Plan {
    /// In words.
    pub(super) fn what(&self) -> String {
        let much = format!("{} {}", whole(self.work.1), self.of);
        if self.arguments.is_empty() {
            much
        } else {
            format!("{much}, `{}`", self.arguments.join(" "))
        }
    }
}

/// All but the soak.
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
        of: "pipes that nobody reads",
        work: ("unread", 10_000),
        arguments: &["--max-objects", "1000"],
        expect: Expect::Rows,
    },
];
