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
    stream(&mut with_filter(test, filter, &[]), &mut io::stdout())
}

fn privileged_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut test = cargo_test(workspace);
    test.args(["--package", PRIVILEGED, "--tests"])
        .env(TOOL_VARIABLE, workspace.tool(Profile::Release))
        .env_remove(IMAGE_VARIABLE);
    let docker = Docker::start(&workspace.test_logs());
    let mut tally = Tally::default();
    match &docker {
        Ok(docker) => {
            test.env(IMAGE_VARIABLE, docker.image());
        }
        Err(error) => {
            // Without docker the other tests run, but the run must not pass.
            say(&format!("{error:#}; counted as one failure"));
            tally.failed += 1;
        }
    }
    // One at a time: some tests count events of the whole machine.
    let harness = ["--include-ignored", "--test-threads=1"];
    tally += stream(&mut with_filter(test, filter, &harness), &mut io::stdout())?;
    tally += tests_with_non_preemptible_hooks(workspace, filter, &harness)?;
    if filter.is_none() {
        say("running the corpus of lost output: only answers that are not right are printed");
        tally += cases::check(workspace, &workspace.tool(Profile::Release))?;
    }
    Ok(tally)
}

/// Repeats the tests that depend on the hooks, with the hooks of Linux 7.0 and later.
fn tests_with_non_preemptible_hooks(
    workspace: &Workspace,
    filter: Option<&str>,
    harness: &[&str],
) -> Result<Tally> {
    let mut test = cargo_test(workspace);
    test.args(["--package", PRIVILEGED])
        .args(["exactness", "trees", "errors", "uring"].iter().flat_map(|name| ["--test", *name]))
        .env(TOOL_VARIABLE, workspace.tool(Profile::Release))
        .env(HOOKS_VARIABLE, "non-preemptible");
    stream(&mut with_filter(test, filter, harness), &mut io::stdout())
}

fn skipped_privileged_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut test = cargo_test(workspace);
    test.args(["--package", PRIVILEGED, "--tests"]);
    let tally = stream(&mut with_filter(test, filter, &[]), &mut io::stdout())?;
    let skipped = tally.skipped;
    say(&format!("skipped {skipped} privileged tests: not root (run: sudo cargo xtask test)"));
    Ok(tally)
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut test = cargo::cargo(workspace);
    test.args(["test", "--no-fail-fast"]).env(OBJECT_VARIABLE, workspace.ebpf_object());
    test
}

fn with_filter(mut test: Command, filter: Option<&str>, harness: &[&str]) -> Command {
    test.arg("--").args(filter).args(harness);
    // The harness writes to a pipe, and would not use colour by itself.
    if io::stdout().is_terminal() {
        test.arg("--color=always");
    }
    test
}

/// Runs tests, copies their output to `out`, and sums up their results.
fn stream(test: &mut Command, out: &mut dyn io::Write) -> Result<Tally> {
    let mut child = test
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `cargo test`")?;
    let output = child.stdout.take().context("`cargo test` has no standard output")?;
    let mut tally = Tally::default();
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    // Bytes: a test's output need not be UTF-8.
    while reader.read_until(b'\n', &mut line).context("cannot read from `cargo test`")? > 0 {
        out.write_all(&line).context("cannot write to standard output")?;
        if let Some(result) = Tally::from_line(&String::from_utf8_lossy(&line)) {
            tally += result;
        }
        line.clear();
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    if !status.success() && tally.failed == 0 {
        say("a test binary was not built or died before it could report: counted as one failure");
        tally.failed = 1;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_script(script: &str) -> Tally {
        stream(Command::new("sh").args(["-c", script]), &mut io::sink()).unwrap()
    }

    #[test]
    fn results_of_several_binaries_are_summed() {
        let line = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";
        let sum = of_script(&format!("{line}; {line}"));
        assert_eq!(sum.to_string(), "4 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_binary_that_died_counts_as_a_failure() {
        assert_eq!(of_script("exit 101").to_string(), "0 passed, 1 failed, 0 skipped");
    }
}
