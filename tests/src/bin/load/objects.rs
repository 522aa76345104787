//! Pipes that stay open: a tracer has a row for each, and watches each.
//!
//! Children hold them, because not even root may always raise its limit of open files.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    stage,
    tree::{self, Child},
};

/// What a process needs besides, and has open from before.
const SPARE: u64 = 64;

/// The children with their pipes.
pub(crate) struct Objects {
    holders: Vec<Holder>,
    count: u64,
}

/// A child; it writes to each of its pipes whenever it is told to.
struct Holder {
    tell: OwnedFd,
    told: OwnedFd,
    _child: Child,
}

impl Objects {
    /// Opens so many pipes.
    pub(crate) fn open(count: u64) -> Result<Self> {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })
            .context("cannot raise the limit of open files to what is allowed")?;
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

    /// How many children hold them.
    pub(crate) fn holders(&self) -> u64 {
        self.holders.len() as u64
    }

    /// Writes a byte into each through fd 1 of its holder; says how many.
    pub(crate) fn write_to_each(&self) -> Result<u64> {
        for holder in &self.holders {
            stage::write_all(holder.tell.as_raw_fd(), b"w")?;
        }
        for holder in &self.holders {
            let answers = stage::read(holder.told.as_raw_fd(), &mut [0])?;
            ensure!(answers == 1, "a holder of pipes is gone");
        }
        Ok(self.count)
    }
}

impl Holder {
    fn start(share: u64) -> Result<Self> {
        let (listen, tell) = stage::pipe()?;
        let (told, answer) = stage::pipe()?;
        let child = tree::fork(|| {
            let pipes = (0..share).map(|_| stage::pipe()).collect::<Result<Vec<_>>>()?;
            while stage::read(listen.as_raw_fd(), &mut [0])? == 1 {
                for (_, write) in &pipes {
                    stage::put(write, 1)?;
                    stage::write_all(1, b"o")?;
                }
                stage::write_all(answer.as_raw_fd(), b"d")?;
            }
            Ok(())
        })?;
        Ok(Self { tell, told, _child: child })
    }
}
