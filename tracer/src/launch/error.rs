//! Errors that prevent the start of a command.

use std::{io, path::PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a command cannot be started.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The argument list is empty.
    #[error("no command was given: write it after `--`")]
    NoCommand,
    /// An argument contains a zero byte.
    #[error("argument `{argument}` contains a zero byte, which ends an argument: leave it out")]
    ZeroByte {
        /// The argument, made printable.
        argument: String,
    },
    /// The file, or the name in `PATH`, does not exist.
    #[error("{}", describe_missing(.name))]
    CommandNotFound {
        /// The name that the user typed.
        name: String,
    },
    /// The file exists but cannot be executed.
    #[error("`{}` cannot be run: {}", .path.display(), describe_refusal(.errno))]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        errno: io::Error,
    },
    /// `execve(2)` does not return.
    #[error(
        "`{}` did not start until tracer was told to stop, and is not started now: the file system of it or of its \
         interpreter does not answer",
        .path.display()
    )]
    StandsStill {
        /// The file.
        path: PathBuf,
    },
    /// The user does not exist.
    #[error("there is no user `{name}` on this machine: `getent passwd` lists the users")]
    UnknownUser {
        /// The name that the user typed.
        name: String,
    },
    /// The kernel does not let the child change its user.
    #[error("the command cannot be run as user `{name}` ({source}): run tracer as root")]
    CannotSwitchUser {
        /// The user.
        name: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// No pseudo-terminal can be created.
    #[error("no terminal could be made for the command ({0}): check that /dev/pts is mounted")]
    Terminal(#[source] io::Error),
    /// No child process can be created.
    #[error("no process could be started for the command ({0}): check the limit on processes")]
    Fork(#[source] io::Error),
    /// The child ended while it waited.
    #[error("the process for the command ended before it was released ({status}): start it again")]
    EndedEarly {
        /// How it ended.
        status: String,
    },
}

impl LaunchError {
    /// Whether the command line is wrong on every machine. Otherwise this machine lacks or forbids what it asks for.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoCommand | Self::ZeroByte { .. })
    }
}

fn describe_missing(name: &str) -> String {
    if name.contains('/') {
        format!("`{name}` does not exist: check the path")
    } else {
        format!("no command `{name}` is in PATH: check the spelling or give its path")
    }
}

fn describe_refusal(errno: &io::Error) -> String {
    match Errno::from_io_error(errno) {
        Some(Errno::ACCESS) => {
            "permission is denied: `chmod +x` it, or look at its directory and mount options".into()
        }
        Some(Errno::NOEXEC) => {
            "it is no program for this machine and no script that begins with `#!`: start it through its interpreter".into()
        }
        Some(Errno::NOENT) => {
            "the interpreter it asks for does not exist: install that, or start it through another".into()
        }
        Some(Errno::ISDIR) => "it is a directory: give a program".into(),
        _ => format!("{errno}: see whether it starts without tracer"),
    }
}
