//! The terminal a command is given, made to look like the real one.

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
    /// Standard input and output.
    pub(super) fn standard() -> io::Result<Self> {
        Ok(Self {
            input: fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST_FREE)?,
            output: fcntl_dupfd_cloexec(rustix::stdio::stdout(), FIRST_FREE)?,
        })
    }

    /// A terminal may be read by its foreground process group only: others are stopped for it.
    pub(super) fn may_read_input(&self) -> bool {
        !isatty(&self.input) || self.is_foreground_terminal()
    }

    pub(super) fn is_foreground_terminal(&self) -> bool {
        tcgetpgrp(&self.input).is_ok_and(|foreground| foreground == getpgrp())
    }
}

/// tracer's end of a pseudo-terminal; never blocks.
#[derive(Debug)]
pub(super) struct Pty {
    master: OwnedFd,
}

impl Pty {
    /// Makes a terminal with the settings and size of the real one, if there is one, and returns
    /// the command's end beside it.
    pub(super) fn open(streams: &Streams, owner: Option<Uid>) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        // So that the command can open /dev/tty's name once it is that user.
        fchown(&slave, owner, None)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;

        let settings = match tcgetattr(&streams.input) {
            Ok(real) => real,
            Err(_) => {
                // Input that nobody types is not echoed to a person who cannot see it.
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

    /// Gives the command's terminal the size of the real one; does nothing without a real one.
    pub(super) fn copy_size(&self, streams: &Streams) -> io::Result<()> {
        match tcgetwinsize(&streams.output).or_else(|_| tcgetwinsize(&streams.input)) {
            Ok(size) => Ok(tcsetwinsize(&self.master, size)?),
            Err(_) => Ok(()),
        }
    }

    /// The character that ends input, as long as the command reads line by line.
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
