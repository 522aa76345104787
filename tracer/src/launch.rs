//! Starts the command after `--` so that it can be traced from its first instruction.
//!
//! ```text
//! start    fork; the child takes its user, terminal and signals and waits in poll(2)
//! caller   puts the child's pid where the kernel side looks
//! release  the child goes from poll(2) straight to execve(2): nothing of tracer's own is counted
//! ```
//!
//! This module knows nothing of what is done with the pid in between.

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

/// A command to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The command and its arguments.
    pub argv: Vec<OsString>,
    /// The user to run it as, by name or number; none for the tracer's own.
    pub user: Option<String>,
    /// Whether it gets a new terminal instead of the tracer's standard streams.
    pub pty: bool,
}

/// A child that waits to become the command. Dropping it ends the child.
#[derive(Debug)]
pub struct Launched {
    parked: Parked,
    terminal: Option<(Pty, Streams)>,
    as_another_user: bool,
}

/// A child that has become the command. Dropping it leaves the command running.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    relay: Option<PtyRelay>,
    ended: Option<ExitStatus>,
}

/// Starts a child that waits to become the command.
///
/// # Errors
///
/// When the command or the user does not exist, or the child cannot be set up. Only what
/// `execve(2)` itself refuses is left for [`Launched::release`] to report.
pub fn start(launch: &Launch) -> Result<Launched, LaunchError> {
    start_between(launch, Streams::standard)
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
    /// The pid of the child, which the command keeps.
    pub fn pid(&self) -> u32 {
        self.parked.pid().as_raw_pid().unsigned_abs()
    }

    /// Whether it will run as another user.
    pub const fn as_another_user(&self) -> bool {
        self.as_another_user
    }

    /// Lets the child become the command and, with a terminal of its own, starts to relay it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to execute the command: not a program, no permission, no
    /// interpreter.
    pub fn release(self) -> Result<Running, LaunchError> {
        let Self { parked, terminal, .. } = self;
        let (pid, pidfd) = parked.release()?;
        let mut running = Running { pid, pidfd, relay: None, ended: None };
        if let Some((pty, streams)) = terminal {
            match PtyRelay::start(pty, streams) {
                Ok(relay) => running.relay = Some(relay),
                Err(error) => {
                    // It would run with nobody to read what it writes. Gone already is as good.
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
    /// The pid of the command.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Readable once the command has ended: to be waited for together with other things.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the command ended, if it has.
    ///
    /// # Errors
    ///
    /// When somebody else has reaped the child.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    /// Blocks until the command ends.
    ///
    /// # Errors
    ///
    /// When somebody else has reaped the child.
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
    /// When the command has ended, or may not be signalled.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Tells the command's terminal the size of the real one: to be called on `SIGWINCH`.
    ///
    /// # Errors
    ///
    /// When the command's terminal refuses the size.
    pub fn resize_terminal(&self) -> io::Result<()> {
        self.relay.as_ref().map_or(Ok(()), PtyRelay::resize)
    }

    /// Passes on what the command's terminal still holds and gives the real one back as it was: to
    /// be called once the command has ended. Does nothing without a terminal or when called again.
    ///
    /// # Errors
    ///
    /// When output could not be passed on, for example because the reader of standard output is
    /// gone.
    pub fn finish_relay(&mut self) -> io::Result<()> {
        self.relay.take().map_or(Ok(()), PtyRelay::finish)
    }
}

#[cfg(test)]
mod tests;
