//! Storms: more of everything than a program has on a quiet day. Each knows what it wrote, process by process.
//!
//! The root never writes through fd 1 itself, and every process lives within one pass of the gate, so passes
//! add up.

pub(crate) mod bomb;
pub(crate) mod brief;
pub(crate) mod busy;
pub(crate) mod crowd;
pub(crate) mod mixed;
pub(crate) mod pipes;
pub(crate) mod threads;

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Result, ensure};

use crate::{
    measure::{Measured, Truth},
    stage,
    tree::{self, Child},
};

/// The most that a process of a storm writes at once, less than a pipe holds.
const LONGEST: usize = 1999;
/// What is written: the first so many of these.
const BYTES: [u8; LONGEST] = [b's'; LONGEST];

/// How many bytes the process, thread or pipe of this number writes: neighbours differ.
fn size(number: u64) -> u64 {
    number * 37 % LONGEST as u64 + 1
}

/// One write of so many bytes through fd 1.
fn write(bytes: u64) -> Result<()> {
    stage::write_all(1, &BYTES[..bytes as usize])
}

/// Puts a pipe on fd 1, and a child at its other end that reads exactly so many bytes through fd 0.
fn stdout_into_reader(bytes: u64) -> Result<Child> {
    let (read, write) = stage::pipe()?;
    let reader = reader(read, bytes)?;
    stage::put(&write, 1)?;
    Ok(reader)
}

fn reader(read: OwnedFd, bytes: u64) -> Result<Child> {
    tree::fork(move || {
        stage::put(&read, 0)?;
        let mut room = vec![0; 1 << 16];
        let mut left = bytes;
        while left > 0 {
            let most = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = stage::read(0, &mut room[..most])? as u64;
            ensure!(got > 0, "the writers are gone, {left} bytes early");
            left -= got;
        }
        Ok(())
    })
}

/// Waits until everybody who holds the other end has closed it.
fn wait_for_end(read: &OwnedFd) -> Result<()> {
    let got = stage::read(read.as_raw_fd(), &mut [0])?;
    ensure!(got == 0, "nobody writes there");
    Ok(())
}

/// A storm has no time of its own.
fn storm(truth: Truth) -> Measured {
    Measured { calls: truth.writes, ns: 0, bytes: truth.bytes, truth }
}
