//! Pipes that stay open, so that tracer has a ledger row for each and watches each.
//!
//! Child processes hold them, because even root cannot always raise its limit of open files.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    stage,
    tree::{self, Child},
};

/// Fds that a process needs in addition to the pipes.
const SPARE: u64 = 64;

/// All open pipes.
pub(crate) struct Objects {
    holders: Vec<Holder>,
    count: u64,
}

/// A child process that holds pipes and writes to each of them on command.
struct Holder {
    commands: OwnedFd,
    answers: OwnedFd,
    _child: Child,
}

impl Objects {
    /// Opens this many pipes.
    pub(crate) fn open(count: u64) -> Result<Self> {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })
            .context("cannot raise the soft limit of open files to the hard limit")?;
        let each = files.saturating_sub(SPARE) / 2;
        ensure!(each > 0, "{files} open files are too few");
        let mut holders = Vec::new();
        let mut left = count;
        while left > 0 {
            let share = left.min(each);
            holders.push(Holder::start(share)?);
            left -= share;
        }
        Ok(Self { holders, count })
    }

    /// Number of children that hold pipes.
    pub(crate) fn holders(&self) -> u64 {
        self.holders.len() as u64
    }

    /// Makes the holders write a byte to each pipe through fd 1; returns the number of pipes.
    pub(crate) fn write_to_each(&self) -> Result<u64> {
        for holder in &self.holders {
            stage::write_all(holder.commands.as_raw_fd(), b"w")?;
        }
        for holder in &self.holders {
            let read = stage::read(holder.answers.as_raw_fd(), &mut [0])?;
            ensure!(read == 1, "a holder of pipes is gone");
        }
        Ok(self.count)
    }
}

impl Holder {
    fn start(share: u64) -> Result<Self> {
        let (command, commands) = stage::pipe()?;
        let (answers, answer) = stage::pipe()?;
        let child = tree::fork(|| {
            let pipes = (0..share).map(|_| stage::pipe()).collect::<Result<Vec<_>>>()?;
            while stage::read(command.as_raw_fd(), &mut [0])? == 1 {
                for (_, write) in &pipes {
                    stage::dup_to(write, 1)?;
                    stage::write_all(1, b"o")?;
                }
                stage::write_all(answer.as_raw_fd(), b"d")?;
            }
            Ok(())
        })?;
        Ok(Self { commands, answers, _child: child })
    }
}
