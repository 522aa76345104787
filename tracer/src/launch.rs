//! Starts the command after `--` so that it can be traced from its first instruction.
//!
//! ```text
//! start    fork; the child sets its user, terminal and signals, and waits in poll(2)
//! caller   makes the child's pid a target
//! release  the child goes from poll(2) straight to execve(2), so nothing of tracer itself is counted
//! ```
//!
//! This module does not know what the caller does with the pid in between.

#[allow(unsafe_code, reason = "fork, and what a child may call before execve, have no safe form")]
mod child;
mod command;
mod error;
mod pty;
mod relay;
mod user;

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use child::{Image, Parked, Plan};
use pty::{Pty, Streams};
use relay::PtyRelay;

pub use error::LaunchError;
pub use relay::restore_terminal;

/// A command to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The command and its arguments.
    pub argv: Vec<OsString>,
    /// User to run it as, by name or number; `None` for tracer's user.
    pub user: Option<String>,
    /// Whether it gets a new terminal instead of tracer's standard streams.
    pub pty: bool,
}

/// A child that waits before it executes the command. Dropping this kills the child.
#[derive(Debug)]
pub struct Launched {
    parked: Parked,
    terminal: Option<(Pty, Streams)>,
    as_another_user: bool,
}

/// A child that executes the command. Dropping this leaves the command running.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    relay: Option<PtyRelay>,
    ended: Option<ExitStatus>,
}

/// Starts a child that waits before it executes the command.
///
/// # Errors
///
/// [`LaunchError`] if the command or the user does not exist, or if the child cannot be set up. Only errors of
/// `execve(2)` itself are left for [`Launched::release`].
pub fn start(launch: &Launch) -> Result<Launched, LaunchError> {
    start_between(launch, Streams::standard)
}

/// The same for a command with a terminal of its own that is not passed on: its output goes to `output`, and it reads
/// the end of its input.
///
/// # Errors
///
/// As [`start`].
pub fn start_apart(launch: &Launch, output: OwnedFd) -> Result<Launched, LaunchError> {
    start_between(launch, || {
        let input = std::fs::File::open("/dev/null")?.into();
        Ok(Streams { input, output })
    })
}

fn start_between(
    launch: &Launch,
    streams: impl FnOnce() -> io::Result<Streams>,
) -> Result<Launched, LaunchError> {
    let name = launch.argv.first().ok_or(LaunchError::NoCommand)?;
    let program = command::find(name, std::env::var_os("PATH").as_deref())?;
    let identity = launch.user.as_deref().map(user::find).transpose()?;
    let environment = user::environment(std::env::vars_os(), identity.as_ref());
    let image = Image::new(&program, &launch.argv, environment)?;

    let (mut terminal, mut slave) = (None, None);
    if launch.pty {
        let make = || -> io::Result<_> {
            let streams = streams()?;
            let (pty, slave) = Pty::open(&streams, identity.as_ref().map(|user| user.uid))?;
            Ok(((pty, streams), slave))
        };
        let (made, end) = make().map_err(LaunchError::Terminal)?;
        (terminal, slave) = (Some(made), Some(end));
    }
    let as_another_user = identity.is_some();
    let parked = Parked::fork(Plan { program, image, identity, slave })?;
    Ok(Launched { parked, terminal, as_another_user })
}

impl Launched {
    /// Pid of the child. The command keeps it.
    pub fn pid(&self) -> u32 {
        self.parked.pid().as_raw_pid().unsigned_abs()
    }

    /// Whether the command runs as another user.
    pub const fn as_another_user(&self) -> bool {
        self.as_another_user
    }

    /// Has the child execute the command. Starts the relay of its terminal, if it has one. `waits` is asked from time to
    /// time whether to go on waiting for a program whose file system does not answer.
    ///
    /// # Errors
    ///
    /// [`LaunchError`] if the kernel refuses to execute the command: no program, no permission, no interpreter;
    /// [`LaunchError::StandsStill`] if `waits` ends the wait.
    pub fn release(self, waits: impl FnMut() -> bool) -> Result<Running, LaunchError> {
        let Self { parked, terminal, .. } = self;
        let (pid, pidfd) = parked.release(waits)?;
        let mut running = Running { pid, pidfd, relay: None, ended: None };
        if let Some((pty, streams)) = terminal {
            match PtyRelay::start(pty, streams) {
                Ok(relay) => running.relay = Some(relay),
                Err(error) => {
                    // Without the relay nothing reads the command's output. A failure means that it has ended
                    // already.
                    let _ = running.signal(Signal::KILL);
                    let _ = running.wait();
                    return Err(LaunchError::Terminal(error));
                }
            }
        }
        Ok(running)
    }
}

impl Running {
    /// Pid of the command.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// A descriptor that is readable when the command has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the command ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// An error if something else has reaped the child.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    /// Waits until the command ends.
    ///
    /// # Errors
    ///
    /// An error if something else has reaped the child.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.reap(WaitOptions::empty())? {
                return Ok(status);
            }
        }
    }

    fn reap(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let reaped = rustix::io::retry_on_intr(|| waitpid(Some(self.pid), options))?;
            self.ended = reaped.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.ended)
    }

    /// Sends a signal to the command.
    ///
    /// # Errors
    ///
    /// An error if the command has ended, or if tracer may not signal it.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Sets the size of the command's terminal to that of tracer's. To be called on `SIGWINCH`.
    ///
    /// # Errors
    ///
    /// An error if the command's terminal refuses the size.
    pub fn resize_terminal(&self) -> io::Result<()> {
        self.relay.as_ref().map_or(Ok(()), PtyRelay::resize)
    }

    /// Relays what is left in the command's terminal, and restores tracer's terminal. To be called when the command
    /// has ended. Does nothing without a terminal, or in a second call. Gives up when `waits` returns `false`.
    ///
    /// # Errors
    ///
    /// An error if output cannot be relayed, for example because the reader of standard output is gone or stands still.
    pub fn finish_relay(&mut self, waits: impl FnMut() -> bool) -> io::Result<()> {
        self.relay.take().map_or(Ok(()), |relay| relay.finish(waits))
    }
}

#[cfg(test)]
mod tests;
