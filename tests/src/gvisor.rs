//! gVisor sandboxes for the tests, on the platform that needs no virtualisation.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    deadline::{OwnedChild, patient, wait_until},
    procfs, refusal,
};

/// `runsc`'s options and subcommand; a command follows.
pub const DO: [&str; 5] =
    ["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups", "do"];

/// A sandbox that runs a shell's line, untraced.
#[derive(Debug)]
pub struct Sandbox {
    /// `runsc do`.
    pub runsc: OwnedChild,
    /// Pid of gVisor's kernel.
    pub kernel: u32,
    root: PathBuf,
    id: String,
}

impl Sandbox {
    /// Starts it with stdout and stderr as pipes, and waits until its kernel runs.
    pub fn start(line: &str) -> Result<Self> {
        let mut command = Command::new(DO[0]);
        command.args(&DO[1..]).args(["/bin/sh", "-c", line]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let runsc = OwnedChild::spawn(&mut command, "runsc do")?;
        let starter = runsc.pid();
        let (kernel, argv) = wait_until("the sandbox", || {
            let children = procfs::children_of(starter).unwrap_or_default();
            Ok(children.into_iter().find_map(|pid| {
                let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
                line.starts_with("runsc-sandbox").then_some((pid, line))
            }))
        })?;
        let argv: Vec<&str> = argv.split('\0').filter(|word| !word.is_empty()).collect();
        let root = argv.iter().find_map(|word| word.strip_prefix("--root="));
        let root = root.context("no state folder")?.into();
        let id = (*argv.last().context("no id")?).to_owned();
        let sandbox = Self { runsc, kernel, root, id };
        wait_until("the sandbox's control socket", || Ok(sandbox.sessions().ok()))?;
        Ok(sandbox)
    }

    /// `runsc trace COMMAND … ID`.
    pub fn trace(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("runsc");
        command.arg(format!("--root={}", self.root.display())).arg("trace");
        let output = refusal::run_command(command.args(arguments).arg(&self.id))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// Runs a shell's line in its container, as `docker exec` does.
    pub fn exec(&self, line: &str) -> Result<Output> {
        let mut command = Command::new("runsc");
        command.arg(format!("--root={}", self.root.display())).args(["--platform=ptrace", "exec"]);
        refusal::run_command(command.arg(&self.id).args(["/bin/sh", "-c", line]))
    }

    /// Waits until tracer has made its trace session.
    pub fn wait_for_session(&self) -> Result<()> {
        wait_until("the trace session", || Ok((self.sessions()? == 1).then_some(())))
    }

    /// Waits until tracer also knows what runs in it: it lists that once it has made its session.
    pub fn wait_for_list(&self) -> Result<()> {
        self.wait_for_session()?;
        sleep(patient(Duration::from_secs(2)));
        Ok(())
    }

    /// Number of trace sessions in it.
    pub fn sessions(&self) -> Result<usize> {
        Ok(self.trace(&["list"])?.matches("\"Default\"").count())
    }
}
