//! All checks of the continuous integration, in order. A failed step does not stop the next one, so that one run
//! reports all failures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::{
    build::{self, OBJECT_VARIABLE, Verbosity, arm64},
    cargo,
    command::{self, say},
    setup::{self, Extras, Ready, cargo_tool::CARGO_DENY, packages},
    workspace::Workspace,
};

use super::{fuzz, test};
use crate::{
    docs, kernels, package, reach,
    steps::{Checked, Report},
    tally::Tally,
};

/// A check and its name in the table.
type Step<'a> = (&'static str, Box<dyn FnOnce() -> Result<Checked> + 'a>);

/// The sum of tests that could not be started. It counts as a failure.
const NOT_RUN: Tally = Tally { passed: 0, failed: 1, skipped: 0 };

/// Runs all steps, then prints a table of them and, on the last line, the sum of the tests.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut report = Report::default();
    let mut ready = None;
    report.perform("setup", || {
        ready = Some(setup::ensure(workspace, Extras { ci: true, ..Extras::default() })?);
        Ok(Checked::Passed)
    });
    let Some(ready) = ready else { return report.finish(NOT_RUN) };
    for (name, step) in checks(workspace, &ready) {
        report.perform(name, step);
    }
    let mut tally = NOT_RUN;
    report.perform("tests", || {
        tally = test::run(workspace, None)?;
        if tally.failed > 0 {
            bail!("{tally}");
        }
        Ok(Checked::Passed)
    });
    report.perform("fuzzers, short", || {
        fuzz::run(workspace, &fuzz::Options::short())?;
        Ok(Checked::Passed)
    });
    report.perform("other kernels", || {
        let kernels = kernels::run(workspace, &kernels::Options::quick())
            .inspect_err(|_| tally += NOT_RUN)?;
        tally += kernels;
        if kernels.failed > 0 {
            bail!("{kernels}");
        }
        Ok(Checked::Passed)
    });
    report.perform("benchmark, quick", || quick_benchmark(workspace));
    report.finish(tally)
}

/// The checks before the tests.
fn checks<'a>(workspace: &'a Workspace, ready: &'a Ready) -> Vec<Step<'a>> {
    vec![
        ("formatting", Box::new(|| formatting(workspace))),
        ("book", Box::new(|| docs::check_all(workspace))),
        // Before the checks that compile the tool, which embeds the object.
        ("eBPF object", Box::new(|| object(workspace, ready))),
        (
            "eBPF object, arm64",
            Box::new(|| arm64::check(workspace, ready).map(|()| Checked::Passed)),
        ),
        ("clippy, host", Box::new(|| clippy_host(workspace))),
        ("clippy, BPF", Box::new(|| clippy_bpf(workspace, ready))),
        ("licences and sources", Box::new(|| deny(workspace))),
        ("advisories", Box::new(|| advisories(workspace))),
        (
            "packages",
            Box::new(|| {
                package::run(workspace, &package::Options::short()).map(|()| Checked::Passed)
            }),
        ),
        ("Kubernetes", Box::new(|| reach::short(workspace).map(|()| Checked::Passed))),
        ("documentation", Box::new(|| documentation(workspace))),
    ]
}

/// Prints what tracer costs; fails only for reasons that noise cannot cause.
fn quick_benchmark(workspace: &Workspace) -> Result<Checked> {
    if !packages::is_root() {
        say("the benchmark was NOT run: it loads eBPF programs and needs root");
        return Ok(Checked::Skipped);
    }
    let status = cargo::bench(workspace, "bench", ["--quick"]).stdin(Stdio::null()).status();
    let status = status.context("cannot start cargo")?;
    ensure!(status.success(), "it failed: {status}");
    Ok(Checked::Passed)
}

fn object(workspace: &Workspace, ready: &Ready) -> Result<Checked> {
    build::build_object(workspace, ready, Verbosity::Full)?;
    Ok(Checked::Passed)
}

/// Runs a program that fails if the check fails.
fn check(command: &mut Command) -> Result<Checked> {
    command::run(command)?;
    Ok(Checked::Passed)
}

fn formatting(workspace: &Workspace) -> Result<Checked> {
    check(cargo::cargo(workspace).args(["fmt", "--all", "--", "--check"]))
        .context("run `cargo fmt --all`")
}

fn clippy_host(workspace: &Workspace) -> Result<Checked> {
    let mut clippy = host_cargo(workspace, "clippy");
    check(clippy.args(["--all-targets", "--", "-D", "warnings"]))
}

/// Runs the clippy of the BPF compiler, because lints need `core` for the BPF target. It uses the running cargo, and
/// the release profile, so that it shares macros and build scripts with the build.
fn clippy_bpf(workspace: &Workspace, ready: &Ready) -> Result<Checked> {
    let mut clippy = cargo::with_program(workspace, ready.companion("cargo-clippy"));
    clippy
        .env("CARGO", cargo::program())
        .args(["clippy", "--package", "tracer-ebpf", "--package", "tracer-common", "--release"])
        .arg("--target-dir")
        .arg(workspace.bpf_target());
    ready.configure(&mut clippy);
    check(clippy.args(["--", "-D", "warnings"]))
}

fn deny(workspace: &Workspace) -> Result<Checked> {
    check(cargo_deny(workspace)?.args(["check", "licenses", "bans", "sources"]))
}

/// Checks known vulnerabilities, if their database is on this machine. It is not fetched: the result would depend on
/// the network and on the day.
fn advisories(workspace: &Workspace) -> Result<Checked> {
    let databases = advisory_databases()?;
    if holds_a_directory(&databases) {
        return check(cargo_deny(workspace)?.args(["--offline", "check", "advisories"]));
    }
    say(&format!(
        "advisories were NOT checked: no database is in {} (`cargo deny fetch` clones it where \
         github.com can be reached)",
        databases.display()
    ));
    Ok(Checked::Skipped)
}

/// Whether a directory contains a directory. A failed fetch leaves only a lock file.
fn holds_a_directory(dir: &Path) -> bool {
    fs::read_dir(dir)
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|e| e.path().is_dir())))
}

/// cargo-deny's default directory of databases.
fn advisory_databases() -> Result<PathBuf> {
    Ok(cargo::home()?.join("advisory-dbs"))
}

fn cargo_deny(workspace: &Workspace) -> Result<Command> {
    let mut deny = cargo::with_program(workspace, CARGO_DENY.ensure(workspace)?);
    deny.arg("--locked");
    Ok(deny)
}

fn documentation(workspace: &Workspace) -> Result<Checked> {
    let mut doc = host_cargo(workspace, "doc");
    // Private items are documented as well, so links to them are valid.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    doc.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", flags);
    check(&mut doc)
}

/// A cargo command for all crates except those of the BPF target.
fn host_cargo(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = cargo::cargo(workspace);
    command
        .args([subcommand, "--workspace", "--exclude", "tracer-ebpf"])
        .env(OBJECT_VARIABLE, workspace.ebpf_object());
    command
}
