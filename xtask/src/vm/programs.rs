//! The programs that run in a virtual machine: tracer, the privileged tests, their workloads. All of
//! them are static, because nothing else is there.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    build::{self, OBJECT_VARIABLE, Voice},
    cargo,
    command::{self, say},
    setup::Ready,
    workspace::Workspace,
};

/// The architecture of the virtual machines.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const TESTS: &str = "tracer-tests";

/// What was built.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// Name and place of tracer and of what the tests start.
    pub(crate) tools: Vec<(String, PathBuf)>,
    /// Name and place of the tests' programs.
    pub(crate) tests: Vec<(String, PathBuf)>,
}

/// Builds everything, with the eBPF object of the host inside tracer: it is the same on each kernel.
pub(crate) fn build(workspace: &Workspace, ready: &Ready) -> Result<Programs> {
    build::build_object(workspace, ready, Voice::Brief)?;
    say("building static programs for the virtual machines");
    let mut programs = Programs::default();
    let mut tracer = static_cargo(workspace);
    command::run(tracer.args(["--package", "tracer", "--bin", "tracer", "--release"]))?;
    let built = workspace.target().join(TARGET).join("release/tracer");
    programs.tools.push(("tracer".to_owned(), built));
    let mut tests = static_cargo(workspace);
    tests.args(["--package", TESTS, "--bins", "--tests", "--message-format", "json"]);
    // Nobody debugs there, and without debug information they are linked faster.
    tests.env("CARGO_PROFILE_DEV_DEBUG", "false");
    programs.add(&messages(&mut tests)?)?;
    if programs.tests.is_empty() {
        bail!("cargo built no tests of {TESTS}");
    }
    Ok(programs)
}

/// `cargo build` of programs that need no library.
fn static_cargo(workspace: &Workspace) -> Command {
    let mut command = cargo::cargo(workspace);
    command
        .args(["build", "--quiet", "--target", TARGET])
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env(OBJECT_VARIABLE, workspace.ebpf_object());
    command
}

/// Runs cargo for its messages; what is for people still goes to standard error.
fn messages(cargo: &mut Command) -> Result<String> {
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start `cargo build`")?;
    if !output.status.success() {
        bail!("the tests do not build for {TARGET}: {}", output.status);
    }
    String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")
}

/// What cargo says of something it built.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Programs {
    fn add(&mut self, messages: &str) -> Result<()> {
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Message =
                serde_json::from_str(line).context("cargo's message is not understood")?;
            let (Some(executable), Some(target)) = (message.executable, message.target) else {
                continue;
            };
            match target.kind.first().map(String::as_str) {
                Some("test") => self.tests.push((target.name, executable)),
                Some("bin") if is_tool(&executable) => self.tools.push((target.name, executable)),
                _ => {}
            }
        }
        self.tests.sort();
        Ok(())
    }
}

/// The tests of a program are in `deps`, the program itself is not.
fn is_tool(executable: &Path) -> bool {
    executable.parent().and_then(Path::file_name).is_some_and(|folder| folder != "deps")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"anyhow","test":true},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"workload","test":true},"executable":"/t/debug/workload"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"workload","test":true},"executable":"/t/debug/deps/workload-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"trees","test":true},"executable":"/t/debug/deps/trees-1"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn tests_and_what_they_start_are_told_apart() {
        let mut programs = Programs::default();
        programs.add(MESSAGES).unwrap();
        assert_eq!(programs.tests, [("trees".to_owned(), "/t/debug/deps/trees-1".into())]);
        assert_eq!(programs.tools, [("workload".to_owned(), "/t/debug/workload".into())]);
    }
}
