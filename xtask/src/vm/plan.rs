//! What a boot is for: which programs run, under which circumstances.

use std::{fmt::Write as _, time::Duration};

use super::programs::Programs;

/// Tests that cannot run there, and why.
const LEFT_OUT: [(&str, &str); 8] = [
    ("capture_programs", "needs gcc, python and git"),
    ("docker", "needs docker"),
    ("docker_hops", "needs docker"),
    ("docker_questions", "needs docker"),
    ("observer_effect", "needs bash, perl, python and git"),
    ("pipe_ends", "needs bash"),
    ("privileges", "needs setpriv and a user database"),
    // Has boots of its own.
    (REFUSING, "is about kernels on which nothing else works"),
];

/// Tests that an emulated machine is too slow for, of programs that run there; why.
const TOO_FAST: [(&str, &str); 1] = [(
    "fork_storm_at_attach",
    "who forks 400 times a second leaves a tracer there no time to begin",
)];

/// The tests of what is said where no trace is possible.
const REFUSING: &str = "refusing_kernels";

/// A program, and names that choose among its tests (none: all of them).
type Part = (&'static str, &'static [&'static str]);

/// What depends on the kernel: each way to write, each kind of object, all of the life of processes, and
/// of following and capturing what goes another way in the kernel. The other tests are about what is made of
/// its answers, which is the same everywhere; a filter finds them all the same.
const ABOUT_THE_KERNEL: [Part; 10] = [
    ("one_trace", &[]),
    ("trees", &[]),
    ("attach", &[]),
    ("errors", &[]),
    ("uring", &[]),
    ("exactness", &[]),
    ("compat32", &[]),
    ("hops", &["both_halves", "outside_the_traced_tree", "writes_once", "first_write_returns"]),
    (
        "capture",
        &[
            "text_on_both_streams",
            "every_call",
            "1024_segments",
            "requests_to_an_io_uring",
            "registered_file",
            "32_bit_entry",
            "kernel_copies",
            "only_what_was_taken",
        ],
    ),
    ("capabilities", &[]),
];

/// What a quick run has of them: each hook, each kind of fact, each branch that depends on the kernel.
/// Setting up a trace takes ten seconds of emulation, so there can be few.
const QUICK: [Part; 8] = [
    ("one_trace", &[]),
    ("trees", &["ten_levels", "vforked", "pid_namespace"]),
    ("attach", &["asleep_at_attach", "joins_the_cgroup_later"]),
    ("errors", &["kill_in_mid_write"]),
    ("uring", &["uring_write_is"]),
    ("hops", &["both_halves"]),
    ("capture", &["text_on_both_streams"]),
    ("capabilities", &[]),
];

/// How much longer than on a real machine everything may take there.
const PATIENCE: u32 = 4;
/// Whoever needs longer than this hangs.
const PROGRAM_LIMIT: Duration = Duration::from_secs(900);

/// What the kernel of a boot is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circumstance {
    /// As Debian made it.
    Plain,
    /// Its type information is out of reach, as in a kernel without `CONFIG_DEBUG_INFO_BTF`.
    NoTypes,
    /// Lockdown forbids to read kernel memory.
    Confidential,
}

/// The programs of a boot.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) circumstance: Circumstance,
    /// Names of programs with the tests that are wanted (none: all of them), in order.
    runs: Vec<(String, Vec<String>)>,
}

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent<'a> {
    /// What the continuous integration has time for.
    Quick,
    /// Everything that depends on the kernel.
    Whole,
    /// Any test with a name like one of these.
    Matching(&'a [String]),
}

impl Circumstance {
    /// In the table of kernels.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Plain => "as it is",
            Self::NoTypes => "without type information",
            Self::Confidential => "`lockdown=confidentiality`",
        }
    }

    /// In the names of files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::NoTypes => "no-types",
            Self::Confidential => "confidential",
        }
    }

    /// Further words of the kernel's command line.
    pub(crate) fn kernel_parameters(self) -> &'static str {
        match self {
            Self::Plain | Self::NoTypes => "",
            Self::Confidential => "lockdown=confidentiality",
        }
    }

    /// Lines of shell that `init.sh` reads before it runs anything.
    fn settings(self) -> &'static str {
        // The test wants to find these words in what tracer says.
        match self {
            Self::Plain => "",
            Self::NoTypes => {
                "mount -t tmpfs none /sys/kernel/btf\n\
                 export TRACER_TEST_REFUSED='type information'\n"
            }
            Self::Confidential => "export TRACER_TEST_REFUSED='`confidentiality`'\n",
        }
    }
}

impl Plan {
    /// Tests on a kernel as it is.
    pub(crate) fn of_tests(programs: &Programs, extent: Extent<'_>) -> Self {
        let part = |&(name, tests): &Part| {
            (name.to_owned(), tests.iter().map(|test| (*test).into()).collect())
        };
        let runs = match extent {
            Extent::Whole => ABOUT_THE_KERNEL.iter().map(part).collect(),
            Extent::Quick => QUICK.iter().map(part).collect(),
            Extent::Matching(filters) => {
                let names = programs.tests.iter().map(|(name, _)| name);
                let can_run =
                    |name: &&String| LEFT_OUT.iter().all(|(left_out, _)| left_out != name);
                names.filter(can_run).map(|name| (name.clone(), filters.to_vec())).collect()
            }
        };
        Self { circumstance: Circumstance::Plain, runs }
    }

    /// What is said on a kernel that cannot work.
    pub(crate) fn of_refusal(circumstance: Circumstance) -> Self {
        Self { circumstance, runs: vec![(REFUSING.to_owned(), Vec::new())] }
    }

    /// How long its programs may take together.
    pub(crate) fn limit(&self) -> Duration {
        let programs = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        PROGRAM_LIMIT.saturating_mul(programs)
    }

    /// What `init.sh` sources.
    pub(crate) fn settings(&self) -> String {
        format!("export TRACER_TEST_PATIENCE={PATIENCE}\n{}", self.circumstance.settings())
    }

    /// What `init.sh` runs: seconds, name, arguments.
    pub(crate) fn programs(&self) -> String {
        let mut lines = String::new();
        for (name, tests) in &self.runs {
            // As on the host: a test that counts what the whole machine does must be alone.
            let harness = "--include-ignored --test-threads=1 --show-output --color=never";
            let is_asked_for =
                |test: &str| tests.iter().any(|wanted| test.contains(wanted.as_str()));
            let skipped = TOO_FAST.iter().filter(|(test, _)| !is_asked_for(test));
            let skipped: String = skipped.map(|(test, _)| format!(" --skip={test}")).collect();
            let seconds = PROGRAM_LIMIT.as_secs();
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{seconds} {name} {harness}{skipped} {}", tests.join(" "));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs {
        let tests = ["docker", "errors", REFUSING, "trees"].map(|name| (name.into(), "/".into()));
        Programs { tests: tests.into(), ..Programs::default() }
    }

    #[test]
    fn a_filter_reaches_all_that_can_run_there() {
        let filters = ["pipe".to_owned()];
        let plan = Plan::of_tests(&programs(), Extent::Matching(&filters));
        assert_eq!(
            plan.programs(),
            "900 errors --include-ignored --test-threads=1 --show-output --color=never \
             --skip=fork_storm_at_attach pipe\n\
             900 trees --include-ignored --test-threads=1 --show-output --color=never \
             --skip=fork_storm_at_attach pipe\n"
        );
        assert_eq!(plan.settings(), "export TRACER_TEST_PATIENCE=4\n");
        let filters = ["storm".to_owned()];
        let asked_for = Plan::of_tests(&programs(), Extent::Matching(&filters)).programs();
        assert!(asked_for.lines().all(|line| line.ends_with("--color=never storm")), "{asked_for}");
    }

    #[test]
    fn a_quick_run_is_a_part_of_a_whole_one() {
        let whole = |(name, tests): &Part| {
            let wanted = ABOUT_THE_KERNEL.iter().find(|(other, _)| other == name);
            wanted
                .is_some_and(|(_, of)| of.is_empty() || tests.iter().all(|test| of.contains(test)))
        };
        assert!(QUICK.iter().all(whole));
        let sum = |extent| Plan::of_tests(&programs(), extent).programs().lines().count();
        assert_eq!((sum(Extent::Quick), sum(Extent::Whole)), (8, 10));
    }

    #[test]
    fn a_refusing_kernel_is_asked_only_why() {
        let plan = Plan::of_refusal(Circumstance::NoTypes);
        assert!(plan.programs().starts_with("900 refusing_kernels "));
        assert!(plan.settings().contains("mount -t tmpfs none /sys/kernel/btf"));
    }
}
