//! Runs `tracer daemon`, and asks its history.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    cgroup::ScratchCgroup,
    deadline::{DEADLINE, OwnedChild, describe, wait_until},
    privilege, refusal,
    tracer::{binary, lines},
};

/// Start of the line that the daemon prints when it records.
const RECORDS: &str = "tracer: records";

/// A running daemon.
#[derive(Debug)]
pub struct Recorder {
    child: OwnedChild,
    stderr: Receiver<String>,
}

impl Recorder {
    /// Starts it with these arguments and waits until it records.
    pub fn start(history: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_with(history, arguments, &[])
    }

    /// The same with environment variables.
    pub fn start_with(
        history: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.envs(variables.iter().copied());
        Self::start_by(command, history, arguments)
    }

    /// The same with a command that executes tracer with the arguments that are added.
    pub fn start_by(mut command: Command, history: &Path, arguments: &[&str]) -> Result<Self> {
        privilege::require_root()?;
        command.arg("daemon").args(arguments).arg("--history").arg(history);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = OwnedChild::spawn(&mut command, "tracer daemon")?;
        let stderr = lines(child.take_stderr()?);
        let mut printed = Vec::new();
        loop {
            match stderr.recv_timeout(*DEADLINE) {
                Ok(line) if line.starts_with(RECORDS) => return Ok(Self { child, stderr }),
                Ok(line) => printed.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("tracer daemon printed {printed:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("tracer daemon ended: {}; {printed:?}", describe(child.wait()?))
                }
            }
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Kills it: it writes nothing more.
    pub fn kill(self) -> Result<ExitStatus> {
        self.end_by(Signal::KILL)
    }

    /// Sends it a signal, and waits for its end.
    pub fn end_by(mut self, signal: Signal) -> Result<ExitStatus> {
        self.child.signal(signal)?;
        self.child.wait_for(*DEADLINE)
    }

    /// Ends it as `systemctl stop` does. It must end with 0 and have warned of nothing.
    pub fn stop(self) -> Result<()> {
        let (_, printed) = self.end()?;
        ensure!(printed.is_empty(), "tracer daemon printed {printed:?}");
        Ok(())
    }

    /// The same with warnings. Returns how long it took to end, and what it printed.
    pub fn end(mut self) -> Result<(Duration, Vec<String>)> {
        let began = Instant::now();
        self.child.signal(Signal::TERM)?;
        let status = self.child.wait_for(*DEADLINE)?;
        let took = began.elapsed();
        let printed: Vec<String> = self.stderr.iter().collect();
        ensure!(status.success(), "tracer daemon ended: {}; {printed:?}", describe(status));
        Ok((took, printed))
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.context("no VmRSS")?.trim().trim_end_matches(" kB").trim();
        Ok(number.parse::<u64>()? << 10)
    }
}

/// Detaches what recorders with `--pinned` have left attached. Returns what that printed.
pub fn detach(history: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(binary()?);
    command.args(["daemon", "--detach", "--history"]).arg(history).args(arguments);
    let output = refusal::run_command(&mut command)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Mounts bpffs if it is not mounted, as systemd does on every server.
pub fn require_bpffs() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    if mounts.lines().any(|line| line.contains(" /sys/fs/bpf bpf ")) {
        return Ok(());
    }
    let status = Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]).status()?;
    ensure!(status.success(), "cannot mount bpffs: {status}");
    Ok(())
}

/// What `tracer why` answered.
pub fn why(history: &Path, arguments: &[&str]) -> Result<Output> {
    ask("why", history, arguments)
}

/// What `tracer history` listed: an object for each line.
pub fn history(history: &Path, arguments: &[&str]) -> Result<Vec<Value>> {
    let arguments = [&["--format", "ndjson"], arguments].concat();
    let output = ask("history", history, &arguments)?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).context("no JSON")).collect()
}

/// The entries among them.
pub fn entries(history: &Path, arguments: &[&str]) -> Result<Vec<Value>> {
    let all = self::history(history, arguments)?;
    Ok(all.into_iter().filter(|item| item["type"] == "entry").collect())
}

/// Waits until the history has the entry of a command with this name.
pub fn entry(folder: &Path, name: &str) -> Result<Value> {
    wait_until(name, || {
        let found = entries(folder, &["--name", &format!("^{name}$")])?;
        Ok(found.into_iter().next())
    })
}

fn ask(what: &str, history: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command.arg(what).arg("--history").arg(history).args(arguments);
    refusal::run_command(&mut command)
}

/// Runs a command in a cgroup; reads the first `read` bytes of its stdout and closes it when the command has ended. Returns its
/// pid.
pub fn run_and_leave(cgroup: &ScratchCgroup, argv: &[&str], read: usize) -> Result<u32> {
    let mut child = start_in(cgroup, argv)?;
    let mut stdout = child.take_stdout()?;
    stdout.read_exact(&mut vec![0; read])?;
    child.wait()?;
    drop(stdout);
    Ok(child.pid())
}

/// Starts a command in a cgroup, with pipes as its standard streams.
pub fn start_in(cgroup: &ScratchCgroup, argv: &[&str]) -> Result<OwnedChild> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go; exec \"$@\"", "sh"]).args(argv);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = OwnedChild::spawn(&mut shell, "the command")?;
    cgroup.admit(child.pid())?;
    child.send(b"go\n")?;
    Ok(child)
}
