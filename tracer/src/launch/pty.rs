//! The terminal of a command, with the settings and size of tracer's terminal.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{OFlags, fchown, fcntl_getfl, fcntl_setfl},
    io::fcntl_dupfd_cloexec,
    process::{Uid, getpgrp},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, isatty, tcgetattr, tcgetpgrp, tcgetwinsize,
        tcsetattr, tcsetwinsize,
    },
};

/// The first descriptor that is no standard stream.
const FIRST_FREE: i32 = 3;

/// tracer's side of the relay.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
}

impl Streams {
    /// tracer's standard input and output.
    pub(super) fn standard() -> io::Result<Self> {
        Ok(Self {
            input: fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST_FREE)?,
            output: fcntl_dupfd_cloexec(rustix::stdio::stdout(), FIRST_FREE)?,
        })
    }

    /// Whether tracer may read its terminal: the kernel stops a process that reads it in the background.
    pub(super) fn may_read_input(&self) -> bool {
        !isatty(&self.input) || self.is_foreground_terminal()
    }

    pub(super) fn is_foreground_terminal(&self) -> bool {
        tcgetpgrp(&self.input).is_ok_and(|foreground| foreground == getpgrp())
    }
}

/// tracer's end of a pseudo-terminal. It never blocks.
#[derive(Debug)]
pub(super) struct Pty {
    master: OwnedFd,
}

impl Pty {
    /// Creates a terminal with the settings and size of tracer's terminal, if that exists. Returns both ends.
    pub(super) fn open(streams: &Streams, owner: Option<Uid>) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        // So the command can open the terminal by its name after it has changed its user.
        fchown(&slave, owner, None)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;

        let settings = match tcgetattr(&streams.input) {
            Ok(real) => real,
            Err(_) => {
                // If tracer has no terminal, there is no typed input to echo.
                let mut settings = tcgetattr(&slave)?;
                settings.local_modes -= LocalModes::ECHO;
                settings
            }
        };
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        let pty = Self { master };
        pty.copy_size(streams)?;
        Ok((pty, slave))
    }

    /// Copies the size of tracer's terminal to the command's terminal. Does nothing without the former.
    pub(super) fn copy_size(&self, streams: &Streams) -> io::Result<()> {
        match tcgetwinsize(&streams.output).or_else(|_| tcgetwinsize(&streams.input)) {
            Ok(size) => Ok(tcsetwinsize(&self.master, size)?),
            Err(_) => Ok(()),
        }
    }

    /// The character that ends input, if the command reads line by line.
    pub(super) fn end_of_input(&self) -> Option<u8> {
        let settings = tcgetattr(&self.master).ok()?;
        let reads_lines = settings.local_modes.contains(LocalModes::ICANON);
        reads_lines.then(|| settings.special_codes[SpecialCodeIndex::VEOF])
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}
