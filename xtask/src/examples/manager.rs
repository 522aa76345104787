//! Examples with several programs: a command under a process manager, and a command in a gVisor sandbox.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{command, workspace::Workspace};

use super::shell;

/// The tool's message when all hooks are attached.
const ATTACHED: &str = "tracer: attached";
/// Names the FIFO from which a started manager reads one byte before it begins (see the tests' `gate`).
const GATE: &str = "WORKLOAD_GO";

/// A command in a gVisor sandbox whose reader closes the pipe.
pub(super) fn in_sandbox(tool: &Path) -> Result<String> {
    const LINE: &str = "(seq 1 1000; sleep 1) | (sleep 0.5; exec <&-; sleep 1)";
    let run = ["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups", "do"];
    let output = Command::new(tool)
        .args(["--color", "never", "-q", "-o", "-", "--"])
        .args(run)
        .args(["sh", "-c", LINE])
        .stdin(Stdio::null())
        .output()
        .context("cannot start the tool")?;
    let report = String::from_utf8(output.stdout).context("the report is no text")?;
    Ok(format!("$ cargo xtask run -- -- {} sh -c '{LINE}'\n{}", run.join(" "), report.trim_end()))
}

/// Runs a command under the tests' process manager while the tool traces the manager.
pub(super) fn managed(
    workspace: &Workspace,
    tool: &Path,
    argv: &[&str],
    options: &[&str],
) -> Result<String> {
    // Not in the checkout, because the path is in the output.
    let directory = shell::empty_folder()?;
    let gate = directory.join("go");
    command::run(Command::new("mkfifo").arg(&gate))?;
    let mut manager = Command::new(workspace.target().join("debug/manager"))
        .arg0("manager")
        .current_dir(&directory)
        .arg("account.json")
        .arg("--")
        .args(argv)
        .env(GATE, &gate)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the tests' process manager")?;
    let output = traced(tool, &mut manager, options, &gate)?;
    let options: String = options.iter().map(|option| format!("{option} ")).collect();
    let command = format!("$ cargo xtask run -- {options}--pid {}\n", manager.id());
    Ok(command + output.trim_end())
}

/// Attaches the tool to a manager that waits at the gate, opens the gate, and returns the report.
fn traced(tool: &Path, manager: &mut Child, options: &[&str], gate: &Path) -> Result<String> {
    let mut tool = Command::new(tool)
        .args(["--pid", &manager.id().to_string(), "--color", "never"])
        .args(options)
        .current_dir(gate.parent().unwrap_or(gate))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the tool")?;
    let stderr = tool.stderr.take().context("the tool's stderr is a pipe")?;
    let attached =
        BufReader::new(stderr).lines().map_while(Result::ok).any(|line| line.starts_with(ATTACHED));
    ensure!(attached, "the tool did not attach");
    fs::OpenOptions::new()
        .write(true)
        .open(gate)
        .and_then(|mut gate| gate.write_all(b"g"))
        .context("cannot open the gate")?;
    let mut output = String::new();
    let mut stdout = tool.stdout.take().context("the tool's stdout is a pipe")?;
    stdout.read_to_string(&mut output).context("cannot read the tool's report")?;
    manager.wait().context("cannot wait for the manager")?;
    tool.wait().context("cannot wait for the tool")?;
    Ok(output)
}
