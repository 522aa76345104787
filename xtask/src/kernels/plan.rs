//! The plan of a boot: test programs and restrictions of the kernel.

use std::{fmt::Write as _, time::Duration};

use xtask::vm::{Programs, Script};

/// Test programs that cannot run in the machine, and why.
const EXCLUDED: [(&str, &str); 19] = [
    ("capture_programs", "needs gcc, python and git"),
    ("cri_recorder", "needs containerd"),
    ("docker", "needs docker"),
    ("docker_exec", "needs docker"),
    ("docker_gvisor", "needs docker and runsc"),
    ("docker_hops", "needs docker"),
    ("docker_questions", "needs docker"),
    ("docker_recorder", "needs docker"),
    ("docker_run", "needs docker"),
    ("gvisor", "needs runsc"),
    ("gvisor_containers", "needs runsc"),
    ("observer_effect", "needs bash, perl, python and git"),
    ("pipe_ends", "needs bash"),
    ("privileges", "needs setpriv and a user database"),
    ("reach_export", "needs python"),
    ("reach_journald", "needs systemd-journald"),
    ("reach_metrics", "needs prometheus"),
    ("reach_otlp", "needs rotel and python"),
    // Runs in the restricted boots.
    (REFUSING, "is about kernels on which nothing else works"),
];

/// Tests for which an emulated machine is too slow, and why.
const TOO_FAST: [(&str, &str); 2] = [
    ("fork_storm_during_attach", "400 forks per second leave an emulated tracer no time to attach"),
    ("five_thousand_pipes", "an emulated machine needs minutes to start 5,000 children"),
];

/// The test of the message on a kernel that allows no trace.
const REFUSING: &str = "refusing_kernels";

/// A test program, and filters of its tests. No filter selects all.
type Part = (&'static str, &'static [&'static str]);

/// Tests that depend on the kernel: all calls that write, all kinds of objects, the life of processes, and special
/// paths of following and capturing. The other tests are about user space; only a filter selects them.
const ABOUT_THE_KERNEL: [Part; 21] = [
    ("one_trace", &[]),
    ("fexit", &[]),
    ("trees", &[]),
    ("attach", &[]),
    ("errors", &[]),
    ("answered", &[]),
    ("uring", &[]),
    ("exactness", &[]),
    ("compat32", &[]),
    ("hops", &["both_ends", "outside_the_traced_tree", "writes_once", "first_write_returns"]),
    (
        "capture",
        &[
            "text_on_both_streams",
            "every_call",
            "1024_segments",
            "requests_to_an_io_uring",
            "registered_file",
            "32_bit_entry",
            "copied_by_the_kernel",
            "only_accepted_bytes",
        ],
    ),
    ("capabilities", &[]),
    ("lifetimes", &[]),
    ("read_ends", &[]),
    ("reads", &[]),
    ("released_counts", &[]),
    ("cut", &[]),
    ("queues", &[]),
    ("identity", &[]),
    ("random", &[]),
    ("witnesses", &[]),
];

/// The tests of a quick run: each hook, each kind of event, each branch that depends on the kernel. They are few,
/// because an emulated tracer takes ten seconds to attach.
const QUICK: [Part; 9] = [
    ("one_trace", &[]),
    ("trees", &["ten_levels", "vforked", "pid_namespace"]),
    ("attach", &["blocked_at_attach", "joins_the_cgroup_during"]),
    ("errors", &["kill_during_a_write"]),
    ("uring", &["uring_write_is"]),
    ("hops", &["both_ends"]),
    ("capture", &["text_on_both_streams"]),
    ("capabilities", &[]),
    ("lifetimes", &["every_kind_of_output"]),
];

/// Factor for the tests' timeouts.
const TIMEOUT_FACTOR: u32 = 4;
/// Time limit of a test program.
const PROGRAM_LIMIT: Duration = Duration::from_secs(1800);

/// What is special about a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// No restriction.
    None,
    /// No type information, as without `CONFIG_DEBUG_INFO_BTF`.
    NoTypes,
    /// Lockdown forbids reading kernel memory.
    Confidential,
    /// The kernel is as it is; tracer counts with `--attach fexit`.
    Fexit,
}

/// A restriction and the programs of a boot.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) restriction: Restriction,
    /// Names of programs and filters of their tests, in order. No filter selects all.
    runs: Vec<(String, Vec<String>)>,
}

/// The tests to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// Those of [`QUICK`].
    Quick,
    /// Those of [`ABOUT_THE_KERNEL`].
    Whole,
    /// All tests whose name contains one of these.
    Matching(&'a [String]),
}

impl Restriction {
    /// Its description in the table of kernels.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::None => "as it is",
            Self::NoTypes => "without type information",
            Self::Confidential => "`lockdown=confidentiality`",
            Self::Fexit => "with `--attach fexit`",
        }
    }

    /// Its name in file names.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::NoTypes => "no-types",
            Self::Confidential => "confidential",
            Self::Fexit => "fexit",
        }
    }

    /// Additional parameters of the kernel.
    pub(crate) fn kernel_parameters(self) -> &'static str {
        match self {
            Self::None | Self::NoTypes | Self::Fexit => "",
            Self::Confidential => "lockdown=confidentiality",
        }
    }

    /// Shell commands that `init.sh` runs before the programs.
    fn settings(self) -> &'static str {
        // The test expects this text in tracer's message.
        match self {
            Self::None => "",
            Self::NoTypes => {
                "mount -t tmpfs none /sys/kernel/btf\n\
                 export TRACER_TEST_REFUSED='type information'\n"
            }
            Self::Confidential => "export TRACER_TEST_REFUSED='`confidentiality`'\n",
            Self::Fexit => "export TRACER_TEST_ATTACH=fexit\n",
        }
    }
}

impl Plan {
    /// Tests on an unrestricted kernel.
    pub(crate) fn of_tests(
        programs: &Programs,
        scope: Scope<'_>,
        restriction: Restriction,
    ) -> Self {
        let part = |&(name, tests): &Part| {
            (name.to_owned(), tests.iter().map(|test| (*test).into()).collect())
        };
        let runs = match scope {
            Scope::Whole => ABOUT_THE_KERNEL.iter().map(part).collect(),
            Scope::Quick => QUICK.iter().map(part).collect(),
            Scope::Matching(filters) => {
                let names = programs.tests.iter().map(|(name, _)| name);
                let can_run =
                    |name: &&String| EXCLUDED.iter().all(|(left_out, _)| left_out != name);
                names.filter(can_run).map(|name| (name.clone(), filters.to_vec())).collect()
            }
        };
        Self { restriction, runs }
    }

    /// The test of the message on a restricted kernel.
    pub(crate) fn restricted(restriction: Restriction) -> Self {
        Self { restriction, runs: vec![(REFUSING.to_owned(), Vec::new())] }
    }

    /// Time limit of all programs together.
    pub(crate) fn limit(&self) -> Duration {
        let programs = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        PROGRAM_LIMIT.saturating_mul(programs)
    }

    /// What the machine does.
    pub(crate) fn script(&self) -> Script {
        Script { settings: self.settings(), programs: self.programs() }
    }

    /// Shell commands that it runs first.
    fn settings(&self) -> String {
        format!("export TRACER_TEST_PATIENCE={TIMEOUT_FACTOR}\n{}", self.restriction.settings())
    }

    /// The lines of its programs.
    fn programs(&self) -> String {
        let mut lines = String::new();
        for (name, tests) in &self.runs {
            // One at a time, as on the host: some tests count events of the whole machine.
            let harness = "--include-ignored --test-threads=1 --show-output --color=never";
            let is_asked_for =
                |test: &str| tests.iter().any(|wanted| test.contains(wanted.as_str()));
            let skipped = TOO_FAST.iter().filter(|(test, _)| !is_asked_for(test));
            let skipped: String = skipped.map(|(test, _)| format!(" --skip={test}")).collect();
            let seconds = PROGRAM_LIMIT.as_secs();
            // Writing to a string never fails.
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
    fn a_filter_selects_from_all_programs_that_can_run() {
        let filters = ["kill".to_owned()];
        let plan = Plan::of_tests(&programs(), Scope::Matching(&filters), Restriction::None);
        assert_eq!(
            plan.programs(),
            "1800 errors --include-ignored --test-threads=1 --show-output --color=never \
             --skip=fork_storm_during_attach --skip=five_thousand_pipes kill\n\
             1800 trees --include-ignored --test-threads=1 --show-output --color=never \
             --skip=fork_storm_during_attach --skip=five_thousand_pipes kill\n"
        );
        assert_eq!(plan.settings(), "export TRACER_TEST_PATIENCE=4\n");
        let fexit = Plan::of_tests(&programs(), Scope::Quick, Restriction::Fexit).settings();
        assert!(fexit.ends_with("\nexport TRACER_TEST_ATTACH=fexit\n"), "{fexit}");
        let filters = ["storm".to_owned(), "five".to_owned()];
        let asked_for =
            Plan::of_tests(&programs(), Scope::Matching(&filters), Restriction::None).programs();
        assert!(
            asked_for.lines().all(|line| line.ends_with("--color=never storm five")),
            "{asked_for}"
        );
    }

    #[test]
    fn a_quick_run_is_a_part_of_a_whole_one() {
        let whole = |(name, tests): &Part| {
            let wanted = ABOUT_THE_KERNEL.iter().find(|(other, _)| other == name);
            wanted
                .is_some_and(|(_, of)| of.is_empty() || tests.iter().all(|test| of.contains(test)))
        };
        assert!(QUICK.iter().all(whole));
        let sum = |scope| {
            Plan::of_tests(&programs(), scope, Restriction::None).programs().lines().count()
        };
        assert_eq!((sum(Scope::Quick), sum(Scope::Whole)), (9, 21));
    }

    #[test]
    fn a_restricted_kernel_runs_only_the_test_of_the_message() {
        let plan = Plan::restricted(Restriction::NoTypes);
        assert!(plan.programs().starts_with("1800 refusing_kernels "));
        assert!(plan.settings().contains("mount -t tmpfs none /sys/kernel/btf"));
    }
}
