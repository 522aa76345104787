//! The workloads that are measured.

/// A workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Its name in tables and for `--only`.
    pub(crate) name: &'static str,
    /// The name of the loop in the tests' program `load`.
    pub(crate) work: &'static str,
    /// Calls of one repetition; see [`super::contender::Contender::slowness`].
    pub(crate) calls: u64,
    /// Description of a call.
    pub(crate) call: &'static str,
    /// Unit of the result.
    pub(crate) unit: Unit,
    /// The loop is not traced; an idle tree is.
    pub(crate) innocent: bool,
    /// Whether a quick run includes it.
    pub(crate) quick: bool,
    /// The command that the loop starts.
    pub(crate) command: Command,
}

/// A unit that is shown in addition to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// No other unit.
    Nanoseconds,
    /// Megabytes (10⁶ bytes) per second.
    MegabytesPerSecond,
    /// Calls per second.
    PerSecond,
}

/// A command that a loop starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// No command.
    None,
    /// `/bin/true`.
    True,
    /// `docker run IMAGE echo`.
    Docker,
}

const BASE: Workload = Workload {
    name: "",
    work: "",
    calls: 0,
    call: "",
    unit: Unit::Nanoseconds,
    innocent: false,
    quick: false,
    command: Command::None,
};

/// All workloads, in the order of the tables.
pub(crate) const ALL: [Workload; 12] = [
    Workload {
        name: "write32",
        work: "write32",
        calls: 40_000,
        call: "write of 32 B to /dev/null",
        quick: true,
        ..BASE
    },
    Workload {
        name: "writev",
        work: "writev",
        calls: 40_000,
        call: "writev of 2 × 16 B to /dev/null",
        ..BASE
    },
    Workload {
        name: "threads2",
        work: "threads2",
        calls: 40_000,
        call: "the same write by one of two threads, to one fd",
        quick: true,
        ..BASE
    },
    Workload {
        name: "pipe4k",
        work: "pipe4k",
        calls: 10_000,
        call: "4 KiB through a pipe to another process",
        unit: Unit::MegabytesPerSecond,
        ..BASE
    },
    Workload {
        name: "pipe64k",
        work: "pipe64k",
        calls: 2_000,
        call: "64 KiB through a pipe to another process",
        unit: Unit::MegabytesPerSecond,
        quick: true,
        ..BASE
    },
    Workload {
        name: "everycpu",
        work: "everycpu",
        calls: 40_000,
        call: "write of 32 B to /dev/null, by a process on each CPU at once",
        ..BASE
    },
    Workload {
        name: "pingpong",
        work: "pingpong",
        calls: 4_000,
        call: "32 B to another process and back, on one CPU",
        ..BASE
    },
    Workload {
        name: "innocent-getppid",
        work: "getppid",
        calls: 100_000,
        call: "getppid of a process that is not traced",
        innocent: true,
        ..BASE
    },
    Workload {
        name: "innocent-read",
        work: "read32",
        calls: 40_000,
        call: "read of 32 B from /dev/zero by a process that is not traced",
        innocent: true,
        ..BASE
    },
    Workload {
        name: "innocent-write",
        work: "write32",
        calls: 40_000,
        call: "write of 32 B to /dev/null by a process that is not traced",
        innocent: true,
        ..BASE
    },
    Workload {
        name: "forkexec",
        work: "exec",
        calls: 200,
        call: "fork and exec of /bin/true, and its end",
        unit: Unit::PerSecond,
        command: Command::True,
        ..BASE
    },
    Workload {
        name: "docker",
        work: "exec",
        calls: 2,
        call: "docker run --rm IMAGE echo",
        unit: Unit::PerSecond,
        command: Command::Docker,
        ..BASE
    },
];

impl Workload {
    /// Whether `--only TEXT` selects this workload.
    pub(crate) fn is_selected_by(&self, only: &str) -> bool {
        self.name == only || (only == "innocent" && self.innocent)
    }

    /// Calls of one repetition under a contender with this slowness. Workloads of few, long calls are not reduced.
    pub(crate) fn calls_at(&self, slowness: u64) -> u64 {
        if self.innocent || self.command != Command::None {
            return self.calls;
        }
        self.calls / slowness
    }

    /// Repetitions of the loop in a round; the fastest counts. They are many and short, because other work on a shared
    /// machine disturbs for tens of milliseconds at a time.
    pub(crate) fn repetitions(&self) -> u32 {
        match self.command {
            Command::None => 25,
            Command::True => 3,
            Command::Docker => 1,
        }
    }

    /// Whether the loop knows what its tree wrote. It does not know docker's writes.
    pub(crate) fn knows_its_writes(&self) -> bool {
        self.command != Command::Docker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_innocent_means_three() {
        let mut names: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(ALL.iter().filter(|workload| workload.is_selected_by("innocent")).count(), 3);
        assert!(!ALL.iter().any(|workload| workload.is_selected_by("")));
    }

    #[test]
    fn slow_contenders_make_fewer_calls_where_calls_are_many() {
        assert_eq!(ALL[0].calls_at(50), ALL[0].calls / 50);
        let forkexec = ALL.iter().find(|workload| workload.name == "forkexec").unwrap();
        assert_eq!(forkexec.calls_at(50), forkexec.calls);
    }
}
