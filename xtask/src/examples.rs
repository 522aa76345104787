//! Regenerates the examples in README.md: real runs, real output.
//!
//! A block lies between `<!-- example:NAME -->` and the next `<!-- end -->`.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    build::{self, Profile, Voice},
    cargo,
    command::{self, say},
    docker::Docker,
    setup::{self, Extras},
    workspace::Workspace,
};

/// What the tool says once every hook is attached.
const ATTACHED: &str = "tracer: attached";
/// Where a started manager waits for one byte (see the tests' `gate`).
const GATE: &str = "WORKLOAD_GO";

/// Runs the examples and writes their output into README.md.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let ready = setup::ensure(workspace, Extras { tests: true, ..Extras::default() })?;
    build::build(workspace, &ready, Profile::Release, Voice::Full)?;
    let mut manager = cargo::cargo(workspace);
    command::run(manager.args(["build", "--package", "tracer-tests", "--bin", "manager"]))?;
    let docker = Docker::start(&workspace.test_logs())?;
    let image = docker.image();
    let argv = ["docker", "pull", "--progress=plain", image];
    let pull = managed(workspace, &argv, &[])?;
    let captured = managed(workspace, &argv, &["--capture", "out"])?;
    let readme = workspace.root().join("README.md");
    let text = fs::read_to_string(&readme).context("cannot read README.md")?;
    let text = replace(&text, "docker", &pull)?;
    let text = replace(&text, "capture", &beginning(&captured))?;
    fs::write(&readme, text).context("cannot write README.md")?;
    say("README.md has the output of this machine now");
    Ok(())
}

/// A report up to its tables.
fn beginning(report: &str) -> String {
    let end = report.find("\n\nmanager ").unwrap_or(report.len());
    format!("{}\n…", &report[..end])
}

/// Runs a command under the tests' process manager, with the tool on the manager.
fn managed(workspace: &Workspace, argv: &[&str], options: &[&str]) -> Result<String> {
    // Not in the checkout: its path is in the output.
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

/// The tool's report on a process that waits at the gate.
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

/// The text with the block of this name replaced.
fn replace(text: &str, name: &str, output: &str) -> Result<String> {
    let start = format!("<!-- example:{name} -->\n");
    let (before, rest) = text.split_once(&start).with_context(|| format!("no block {name}"))?;
    let (_, after) = rest.split_once("<!-- end -->").context("a block has no end")?;
    Ok(format!("{before}{start}```console\n{output}\n```\n<!-- end -->{after}"))
}

/// Whether every example block of a page is filled in.
pub(crate) fn check(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    ensure!(
        !text.contains("-->\n<!-- end -->"),
        "README.md has an empty example: run `cargo xtask examples`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_replaced_and_its_surroundings_stay() {
        let page = "a\n<!-- example:x -->\nold\n<!-- end -->\nb\n";
        assert_eq!(
            replace(page, "x", "new").unwrap(),
            "a\n<!-- example:x -->\n```console\nnew\n```\n<!-- end -->\nb\n"
        );
        assert!(replace(page, "y", "new").is_err());
    }
}
