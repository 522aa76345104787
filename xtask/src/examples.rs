//! Regenerates the examples in README.md from real runs.
//!
//! An example is a block that begins with `<!-- example:NAME -->` (see [`xtask::page`]).

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    build::{self, Profile, Verbosity},
    cargo,
    command::{self, say},
    docker::Docker,
    page,
    setup::{self, Extras},
    workspace::Workspace,
};

/// The tool's message when all hooks are attached.
const ATTACHED: &str = "tracer: attached";
/// Names the FIFO from which a started manager reads one byte before it begins (see the tests' `gate`).
const GATE: &str = "WORKLOAD_GO";

/// Runs the examples and writes their output into README.md.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let ready = setup::ensure(workspace, Extras { tests: true, ..Extras::default() })?;
    build::build(workspace, &ready, Profile::Release, Verbosity::Full)?;
    let mut manager = cargo::cargo(workspace);
    command::run(manager.args(["build", "--package", "tracer-tests", "--bin", "manager"]))?;
    let docker = Docker::start(&workspace.test_logs())?;
    let image = docker.image();
    let argv = ["docker", "pull", "--progress=plain", image];
    let pull = managed(workspace, &argv, &[])?;
    let captured = managed(workspace, &argv, &["--capture", "out"])?;
    let gvisor = in_sandbox(workspace)?;
    let readme = workspace.root().join("README.md");
    for (name, output) in [("docker", pull), ("capture", captured), ("gvisor", gvisor)] {
        let block = format!("```console\n{output}\n```");
        page::regenerate(&readme, &format!("example:{name}"), &block)?;
    }
    say("README.md has the output of this machine now");
    Ok(())
}

/// A command in a gVisor sandbox whose reader closes the pipe.
fn in_sandbox(workspace: &Workspace) -> Result<String> {
    const LINE: &str = "(seq 1 1000; sleep 1) | (sleep 0.5; exec <&-; sleep 1)";
    let run = ["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups", "do"];
    let output = Command::new(workspace.tool(Profile::Release))
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
fn managed(workspace: &Workspace, argv: &[&str], options: &[&str]) -> Result<String> {
    // Not in the checkout, because the path is in the output.
    let directory = std::env::temp_dir().join("example");
    fs::create_dir_all(&directory).context("cannot create the examples' directory")?;
    match fs::remove_dir_all(directory.join("out")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("cannot empty the examples' directory");
        }
        _ => {}
    }
    let gate = directory.join("go");
    if !gate.exists() {
        command::run(Command::new("mkfifo").arg(&gate))?;
    }
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
    let output = traced(workspace, &mut manager, options, &gate)?;
    let options: String = options.iter().map(|option| format!("{option} ")).collect();
    let command = format!("$ cargo xtask run -- {options}--pid {}\n", manager.id());
    Ok(command + output.trim_end())
}

/// Attaches the tool to a manager that waits at the gate, opens the gate, and returns the report.
fn traced(
    workspace: &Workspace,
    manager: &mut Child,
    options: &[&str],
    gate: &Path,
) -> Result<String> {
    let mut tool = Command::new(workspace.tool(Profile::Release))
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

/// Fails if an example in README.md is empty.
pub(crate) fn check(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    ensure!(
        !text.contains("-->\n<!-- end -->"),
        "README.md has an empty example: run `cargo xtask examples`"
    );
    Ok(())
}
