//! What is measured.

/// One row of the comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Its name in tables and for `--only`.
    pub(crate) name: &'static str,
    /// The loop in the tests' program `load`.
    pub(crate) work: &'static str,
    /// Calls in one take; see [`super::contender::Contender::slowness`].
    pub(crate) calls: u64,
    /// What one call is.
    pub(crate) call: &'static str,
    /// How its result reads best.
    pub(crate) unit: Unit,
    /// Not the loop but an idle tree is traced.
    pub(crate) innocent: bool,
    /// Part of `--quick`.
    pub(crate) quick: bool,
    /// What the loop starts.
    pub(crate) command: Command,
}

/// How a result is shown besides nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Not at all.
    Nanoseconds,
    /// Megabytes (10⁶) a second.
    MegabytesPerSecond,
    /// Calls a second.
    PerSecond,
}

/// What a loop starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing.
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

/// All, in the order of the tables.
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
    /// Whether `--only TEXT` means this one.
    pub(crate) fn is_meant_by(&self, only: &str) -> bool {
        self.name == only || (only == "innocent" && self.innocent)
    }

    /// Calls in one take of a contender that is so many times slower. Few and long ones stay as they are.
    pub(crate) fn calls_at(&self, slowness: u64) -> u64 {
        if self.innocent || self.command != Command::None {
            return self.calls;
        }
        self.calls / slowness
    }

    /// How often a loop is measured under one attached contender, of which the fastest counts. Many and
    /// short: on a shared machine others disturb for tens of milliseconds at a time.
    pub(crate) fn takes(&self) -> u32 {
        match self.command {
            Command::None => 25,
            Command::True => 3,
            Command::Docker => 1,
        }
    }

    /// Whether the loop can say what its tree wrote; not what docker's client did.
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
        assert_eq!(ALL.iter().filter(|workload| workload.is_meant_by("innocent")).count(), 3);
        assert!(!ALL.iter().any(|workload| workload.is_meant_by("")));
    }

    #[test]
    fn slow_contenders_make_fewer_calls_where_calls_are_many() {
        assert_eq!(ALL[0].calls_at(50), ALL[0].calls / 50);
        let forkexec = ALL.iter().find(|workload| workload.name == "forkexec").unwrap();
        assert_eq!(forkexec.calls_at(50), forkexec.calls);
    }
}
