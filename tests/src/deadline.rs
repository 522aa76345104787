//! Waiting with a deadline and a reason; and children that cannot outlive their test.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

/// How many times longer everything may take: for emulated machines.
pub const PATIENCE_ENV: &str = "TRACER_TEST_PATIENCE";

/// How long any single wait may take.
pub static DEADLINE: LazyLock<Duration> = LazyLock::new(|| patient(Duration::from_secs(30)));

/// A limit as it holds on this machine.
pub fn patient(limit: Duration) -> Duration {
    let patience = env::var(PATIENCE_ENV).ok().and_then(|text| text.parse().ok());
    limit * patience.unwrap_or(1)
}

/// Asks until the answer is there; `what` names it in the message when it never comes.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > *DEADLINE {
            bail!("waited {} s for {what}: it did not happen", DEADLINE.as_secs());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A child that leads its own process group and is killed with it when dropped.
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

    /// Its pid, as the test sees it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipes that were asked for.
    pub fn inner(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends one signal to this process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(raw_pid(self.pid())?, signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for its end; the deadline is [`DEADLINE`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_for(*DEADLINE)
    }

    /// Waits for its end.
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
            // Failing is the normal case: the whole group has ended.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if self.status.is_none() {
            let _ = self.child.wait();
        }
    }
}

/// A pid in the type rustix wants.
pub fn raw_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no pid"))
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
