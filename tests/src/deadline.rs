//! Waits with a deadline and a description; children that are killed with their test.

use std::{
    env,
    io::Write as _,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

/// Factor for all time limits, for emulated machines.
pub const PATIENCE_ENV: &str = "TRACER_TEST_PATIENCE";

/// Limit of a single wait.
pub static DEADLINE: LazyLock<Duration> = LazyLock::new(|| patient(Duration::from_secs(30)));

/// A time limit, scaled for this machine by [`PATIENCE_ENV`].
pub fn patient(limit: Duration) -> Duration {
    let patience = env::var(PATIENCE_ENV).ok().and_then(|text| text.parse().ok());
    limit * patience.unwrap_or(1)
}

/// Polls `ask` until it returns `Some`. `what` describes the event in the error at the deadline.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > *DEADLINE {
            bail!("timed out after {} s waiting for {what}", DEADLINE.as_secs());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A child process that leads a process group. Dropping it kills the group.
#[derive(Debug)]
pub struct OwnedChild {
    child: Child,
    name: String,
    status: Option<ExitStatus>,
}

impl OwnedChild {
    /// Starts `command` in a process group of its own.
    pub fn spawn(command: &mut Command, name: &str) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let child =
            command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), status: None })
    }

    /// Its pid in the namespace of the test.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes its stdin, which must be piped.
    pub fn take_stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("stdin is not piped")
    }

    /// Writes to its stdin, which must be piped.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is not piped")?;
        stdin.write_all(bytes).with_context(|| format!("{} does not read", self.name))
    }

    /// Takes its stdout, which must be piped.
    pub fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("stdout is not piped")
    }

    /// Takes its stderr, which must be piped.
    pub fn take_stderr(&mut self) -> Result<ChildStderr> {
        self.child.stderr.take().context("stderr is not piped")
    }

    /// Sends a signal to this process only, not to its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(raw_pid(self.pid())?, signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until it ends, for [`DEADLINE`] at most.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_for(*DEADLINE)
    }

    /// Waits until it ends, for `limit` at most.
    pub fn wait_for(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let pidfd = pidfd_open(raw_pid(self.pid())?, PidfdFlags::empty())
            .with_context(|| format!("cannot watch {}", self.name))?;
        let timeout = Timespec { tv_sec: limit.as_secs().try_into()?, tv_nsec: 0 };
        let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
        let ended = rustix::io::retry_on_intr(|| poll(&mut watched, Some(&timeout)))?;
        if ended == 0 {
            bail!("{} (pid {}) did not end within {} s", self.name, self.pid(), limit.as_secs());
        }
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        if let Ok(group) = raw_pid(self.pid()) {
            // Usually fails because the whole group has ended.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if self.status.is_none() {
            let _ = self.child.wait();
        }
    }
}

/// Converts a pid to rustix's type.
pub fn raw_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is not a pid"))
}

/// Describes how a process ended.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "unknown exit status".to_owned(),
    }
}
