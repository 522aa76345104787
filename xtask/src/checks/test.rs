//! Runs all tests: first those without privileges, then those that need root.

use std::{
    io::{self, BufRead as _, BufReader, IsTerminal as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use xtask::{
    build::{self, OBJECT_VARIABLE, Verbosity},
    cargo,
    command::say,
    docker::Docker,
    setup::{self, Extras, packages},
    workspace::{Profile, Workspace},
};

use crate::{cases, tally::Tally};

/// The package of the privileged tests, which are marked `#[ignore]`.
const PRIVILEGED: &str = "tracer-tests";
/// The variable that names the tool to the privileged tests.
const TOOL_VARIABLE: &str = "TRACER_BIN";
/// The variable with the value of `tracer --hooks` for the privileged tests.
const HOOKS_VARIABLE: &str = "TRACER_TEST_HOOKS";
/// The variable that names the image in the registry to the privileged tests.
const IMAGE_VARIABLE: &str = "TRACER_TEST_IMAGE";
/// How many failed tests of one run of `cargo test` are run once more. If more fail, all count as failed.
const MOST_REPEATED: usize = 2;

/// Builds, then runs all tests whose name contains `filter`. Failed tests do not stop it.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let root = packages::is_root();
    let ready = setup::ensure(workspace, Extras { tests: root, ..Extras::default() })?;
    build::build(workspace, &ready, Profile::Release, Verbosity::Full)?;
    build::build_export(workspace, Profile::Release)?;
    let mut tally = host_tests(workspace, filter)?;
    tally += if root {
        privileged_tests(workspace, filter)?
    } else {
        skipped_privileged_tests(workspace, filter)?
    };
    Ok(tally)
}

fn host_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut test = cargo_test(workspace);
    test.args(["--workspace", "--exclude", "tracer-ebpf", "--exclude", PRIVILEGED]);
    add_harness(&mut test, filter, &[]);
    Ok(stream(&mut test, &mut io::stdout())?.tally)
}

fn privileged_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let docker = Docker::start(&workspace.test_logs());
    let mut tally = Tally::default();
    if let Err(error) = &docker {
        // Without docker the other tests run, but the run must not pass.
        say(&format!("{error:#}; counted as one failure"));
        tally.failed += 1;
    }
    let command = || {
        let mut test = cargo_test(workspace);
        test.args(["--package", PRIVILEGED, "--tests"])
            .env(TOOL_VARIABLE, workspace.tool(Profile::Release))
            .env_remove(IMAGE_VARIABLE);
        if let Ok(docker) = &docker {
            test.env(IMAGE_VARIABLE, docker.image());
        }
        test
    };
    tally += run_and_repeat(command, filter, &mut io::stdout())?;
    tally += tests_with_non_preemptible_hooks(workspace, filter)?;
    if filter.is_none() {
        say("running the corpus of lost output: only answers that are not right are printed");
        tally += cases::check(workspace, &workspace.tool(Profile::Release))?;
    }
    Ok(tally)
}

/// Repeats the tests that depend on the hooks, with the hooks of Linux 7.0 and later.
fn tests_with_non_preemptible_hooks(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let command = || {
        let mut test = cargo_test(workspace);
        test.args(["--package", PRIVILEGED])
            .args(
                ["exactness", "trees", "errors", "uring"].iter().flat_map(|name| ["--test", *name]),
            )
            .env(TOOL_VARIABLE, workspace.tool(Profile::Release))
            .env(HOOKS_VARIABLE, "non-preemptible");
        test
    };
    run_and_repeat(command, filter, &mut io::stdout())
}

/// Runs privileged tests one at a time, because some count events of the whole machine. A few that fail are run once more,
/// alone: they depend on the machine's speed. One that passes then is named as unstable and counts as passed.
fn run_and_repeat(
    command: impl Fn() -> Command,
    filter: Option<&str>,
    out: &mut dyn io::Write,
) -> Result<Tally> {
    let harness = ["--include-ignored", "--test-threads=1"];
    let mut test = command();
    add_harness(&mut test, filter, &harness);
    let Outcome { mut tally, failed } = stream(&mut test, out)?;
    if failed.is_empty() || failed.len() > MOST_REPEATED {
        return Ok(tally);
    }
    say(&format!("running once more, alone: {}", failed.join(", ")));
    let mut test = command();
    add_harness(&mut test, None, &harness);
    let second = stream(test.arg("--exact").args(&failed), out)?;
    if second.tally.passed + second.tally.failed < failed.len() as u64 || !second.names_all() {
        return Ok(tally);
    }
    for name in failed.iter().filter(|name| !second.failed.contains(name)) {
        say(&format!("UNSTABLE: {name} failed, and passed when it was run again"));
        tally.failed -= 1;
        tally.passed += 1;
    }
    Ok(tally)
}

fn skipped_privileged_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut test = cargo_test(workspace);
    test.args(["--package", PRIVILEGED, "--tests"]);
    add_harness(&mut test, filter, &[]);
    let Outcome { tally, .. } = stream(&mut test, &mut io::stdout())?;
    let skipped = tally.skipped;
    say(&format!("skipped {skipped} privileged tests: not root (run: sudo cargo xtask test)"));
    Ok(tally)
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut test = cargo::cargo(workspace);
    test.args(["test", "--no-fail-fast"]).env(OBJECT_VARIABLE, workspace.ebpf_object());
    test
}

fn add_harness(test: &mut Command, filter: Option<&str>, arguments: &[&str]) {
    test.arg("--").args(filter).args(arguments);
    // The harness writes to a pipe, and would not use colour by itself.
    if io::stdout().is_terminal() {
        test.arg("--color=always");
    }
}

/// The results of one run of `cargo test`.
struct Outcome {
    tally: Tally,
    /// The names of all tests that failed; none if not all are known.
    failed: Vec<String>,
}

impl Outcome {
    fn names_all(&self) -> bool {
        self.failed.len() as u64 == self.tally.failed
    }
}

/// Collects the names of failed tests from the list before each binary's result.
#[derive(Default)]
struct FailedNames {
    /// Whether a binary has said that it begins, and no result since.
    is_running: bool,
    /// Whether a binary died before its result.
    one_died: bool,
    /// Since the last line `failures:`. There are two such lines: one before the outputs, one before the names.
    latest: Vec<String>,
    all: Vec<String>,
}

impl FailedNames {
    fn line(&mut self, line: &str) {
        if begins(line) {
            self.one_died |= self.is_running;
            self.is_running = true;
        } else if line.trim_end() == "failures:" {
            self.latest.clear();
        } else if let Some(name) = line.strip_prefix("    ") {
            self.latest.push(name.trim_end().to_owned());
        } else if line.starts_with("test result: ") {
            self.all.append(&mut self.latest);
            self.is_running = false;
        }
    }

    /// The names, or none if a binary died: one of its tests may have failed as well.
    fn known(self) -> Vec<String> {
        if self.one_died || self.is_running { Vec::new() } else { self.all }
    }
}

/// Whether a line is the first one of a test binary: `running 3 tests`.
fn begins(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(words[..], ["running", count, "test" | "tests"] if count.parse::<u64>().is_ok())
}

/// Runs tests, copies their output to `out`, and sums up their results.
fn stream(test: &mut Command, out: &mut dyn io::Write) -> Result<Outcome> {
    let mut child = test
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `cargo test`")?;
    let output = child.stdout.take().context("`cargo test` has no standard output")?;
    let (mut tally, mut names) = (Tally::default(), FailedNames::default());
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    // Bytes: a test's output need not be UTF-8.
    while reader.read_until(b'\n', &mut line).context("cannot read from `cargo test`")? > 0 {
        out.write_all(&line).context("cannot write to standard output")?;
        let text = String::from_utf8_lossy(&line);
        tally += Tally::from_line(&text).unwrap_or_default();
        names.line(&text);
        line.clear();
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    if !status.success() && tally.failed == 0 {
        say("a test binary was not built or died before it could report: counted as one failure");
        tally.failed = 1;
    }
    let mut outcome = Outcome { tally, failed: names.known() };
    if !outcome.names_all() {
        outcome.failed.clear();
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_script(script: &str) -> Outcome {
        stream(Command::new("sh").args(["-c", script]), &mut io::sink()).unwrap()
    }

    /// A script that prints what the harness prints when `name` fails.
    fn failing(name: &str) -> String {
        format!(
            "printf 'failures:\\n\\n---- {name} stdout ----\\n    0: main\\n\\nfailures:\\n    {name}\\n\\n'
             echo 'test result: FAILED. 4 passed; 1 failed; 0 ignored'"
        )
    }

    #[test]
    fn results_of_several_binaries_are_summed() {
        let line = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";
        let sum = of_script(&format!("{line}; {line}")).tally;
        assert_eq!(sum.to_string(), "4 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_binary_that_died_counts_as_a_failure_and_is_not_repeated() {
        let died = of_script("exit 101");
        assert_eq!(died.tally.to_string(), "0 passed, 1 failed, 0 skipped");
        assert!(died.failed.is_empty());
    }

    #[test]
    fn failed_tests_are_known_by_name_if_all_are_listed() {
        assert_eq!(of_script(&failing("net::slow")).failed, ["net::slow"]);
        let more = "echo 'test result: FAILED. 0 passed; 1 failed; 0 ignored'";
        assert!(of_script(&format!("{more}; {}", failing("slow"))).failed.is_empty());
    }

    #[test]
    fn no_test_is_repeated_beside_a_binary_that_died() {
        let died = "echo 'running 3 tests'";
        let fails = format!("echo 'running 5 tests'; {}", failing("slow"));
        for script in [format!("{died}; {fails}; false"), format!("{fails}; {died}; false")] {
            let outcome = of_script(&script);
            assert_eq!((outcome.tally.failed, outcome.failed), (1, Vec::new()));
        }
        assert_eq!(of_script(&fails).failed, ["slow"]);
    }

    #[test]
    fn a_test_that_fails_is_repeated_once() {
        let folder = tempfile::tempdir().unwrap();
        let runs = |script: &str| {
            let command = || {
                let mut test = Command::new("sh");
                test.current_dir(folder.path()).args(["-c", script]);
                test
            };
            let tally = run_and_repeat(command, None, &mut io::sink()).unwrap();
            let count = std::fs::read_to_string(folder.path().join("runs")).unwrap().len();
            std::fs::remove_file(folder.path().join("runs")).unwrap();
            (tally.to_string(), count)
        };
        let passes = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
        let fails = failing("slow");
        let unstable =
            format!("printf x >> runs; if [ $(cat runs) = xx ]; then {passes}; else {fails}; fi");
        assert_eq!(runs(&unstable), ("5 passed, 0 failed, 0 skipped".into(), 2));
        let many = format!("printf x >> runs; {fails}; {fails}; {fails}");
        assert_eq!(runs(&many), ("12 passed, 3 failed, 0 skipped".into(), 1));
        let broken = format!("printf x >> runs; {fails}");
        assert_eq!(runs(&broken), ("4 passed, 1 failed, 0 skipped".into(), 2));
        // Another binary has a test of the same name.
        let twin = format!("printf x >> runs; {passes}; {fails}");
        assert_eq!(runs(&twin), ("5 passed, 1 failed, 0 skipped".into(), 2));
        let is_gone = format!("printf x >> runs; if [ $(cat runs) = x ]; then {fails}; fi");
        assert_eq!(runs(&is_gone), ("4 passed, 1 failed, 0 skipped".into(), 2));
    }
}
