//! `cargo xtask reach`: what tracer tells other systems, and how it runs in Kubernetes, beside the real ones.

mod apiserver;
mod chart;
mod plugin;
mod prometheus;
mod tools;

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::{
    build::{OBJECT_VARIABLE, dist},
    cargo,
    command::say,
    setup::{self, Extras, packages},
    workspace::Workspace,
};

use self::tools::Tools;
use crate::steps::{Checked, Report};

/// Options of `cargo xtask reach`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Also build Debian's kube-apiserver (9 minutes of a processor, once) and install the chart into it
    #[arg(long)]
    apiserver: bool,
    /// Without the tests beside containerd, which need root and the binary: what the continuous integration runs
    #[arg(long)]
    quick: bool,
    /// Put the chart's objects with its default values into deploy/kubernetes/tracer.yaml
    #[arg(long)]
    page: bool,
}

/// The tests that need real containers or services, by the beginnings of their files' names.
const TESTS: [&str; 2] = ["cri_", "reach_"];

/// Runs everything and prints a table.
pub(crate) fn run(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut report = Report::default();
    let mut tools = None;
    report.perform("tools", || {
        tools = Some(Tools::ensure()?);
        Ok(Checked::Passed)
    });
    if let Some(tools) = &tools {
        if options.page {
            chart::write_page(workspace, tools)?;
        }
        without_root(workspace, tools, &mut report);
    }
    if !options.quick {
        report.perform("tests beside containerd", || tests(workspace));
    }
    if let Some(tools) = tools.as_ref().filter(|_| options.apiserver) {
        report.perform("kube-apiserver", || apiserver::check(workspace, tools));
    }
    eprint!("\n{report}\n");
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The part that the continuous integration runs: the tests of the other part are among its tests.
///
/// # Errors
///
/// One of the steps fails.
pub(crate) fn short(workspace: &Workspace) -> Result<()> {
    let mut report = Report::default();
    without_root(workspace, &Tools::ensure()?, &mut report);
    eprint!("\n{report}\n");
    ensure!(!report.has_failed(), "see the table above");
    Ok(())
}

fn without_root(workspace: &Workspace, tools: &Tools, report: &mut Report) {
    report.perform("helm lint", || chart::lint(workspace, tools));
    report.perform("objects", || chart::validate(workspace, tools));
    report.perform("wrong values", || chart::refuse(workspace, tools));
    report.perform("manifest, rights", || chart::compare(workspace, tools));
    report.perform("kubectl's plugin", || plugin::check(workspace, tools));
    report.perform("promtool", || prometheus::check(workspace));
}

/// Runs the privileged tests of [`TESTS`] with the binary that users download.
fn tests(workspace: &Workspace) -> Result<Checked> {
    if !packages::is_root() {
        say("the tests beside containerd were NOT run: that needs root");
        return Ok(Checked::Skipped);
    }
    let ready = setup::ensure(workspace, Extras { tests: true, ..Extras::default() })?;
    let tool = dist::build(workspace, &ready, dist::Effort::Full)?;
    let mut test = cargo::cargo(workspace);
    test.args(["test", "--package", "tracer-tests"]);
    for name in names(workspace)? {
        test.args(["--test", &name]);
    }
    test.args(["--", "--include-ignored", "--test-threads=1"]);
    test.env(OBJECT_VARIABLE, workspace.ebpf_object()).env("TRACER_BIN", tool);
    let status = test.stdin(Stdio::null()).status().context("cannot start `cargo test`")?;
    ensure!(status.success(), "a test failed: {status}");
    Ok(Checked::Passed)
}

/// The names of the files with [`TESTS`].
fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let entries = fs::read_dir(workspace.root().join("tests/tests")).context("no tests")?;
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names = files.filter_map(|file| file.strip_suffix(".rs").map(str::to_owned));
    let mut names: Vec<_> =
        names.filter(|name| TESTS.iter().any(|start| name.starts_with(start))).collect();
    names.sort();
    ensure!(!names.is_empty(), "no test's name begins with {}", TESTS.join(" or "));
    Ok(names)
}

/// A command in the checkout.
fn command(program: impl AsRef<std::ffi::OsStr>, workspace: &Workspace) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    command
}
