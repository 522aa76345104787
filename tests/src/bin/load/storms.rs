//! Storms: very many processes, threads, pipes or writes. Each counts what its processes wrote.
//!
//! The root process does not write to fd 1, and no other process outlives a round, so the counts of
//! several rounds add up.

pub(crate) mod bomb;
pub(crate) mod brief;
pub(crate) mod busy;
pub(crate) mod churn;
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

/// Maximum size of a write, less than the capacity of a pipe.
const LONGEST: usize = 1999;
/// The data; a write takes a prefix of it.
const BYTES: [u8; LONGEST] = [b's'; LONGEST];

/// Bytes that the process, thread or pipe of this number writes. Neighbours differ.
fn size(number: u64) -> u64 {
    number * 37 % LONGEST as u64 + 1
}

/// Writes this many bytes to fd 1 by one call.
fn write(bytes: u64) -> Result<()> {
    stage::write_all(1, &BYTES[..bytes as usize])
}

/// Makes fd 1 a pipe, from which a new child reads exactly this many bytes.
fn stdout_into_reader(bytes: u64) -> Result<Child> {
    let (read, write) = stage::pipe()?;
    let reader = reader(read, bytes)?;
    stage::dup_to(&write, 1)?;
    Ok(reader)
}

fn reader(read: OwnedFd, bytes: u64) -> Result<Child> {
    tree::fork(move || {
        stage::dup_to(&read, 0)?;
        let mut buffer = vec![0; 1 << 16];
        let mut left = bytes;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = stage::read(0, &mut buffer[..most])? as u64;
            ensure!(got > 0, "the writers are gone, {left} bytes early");
            left -= got;
        }
        Ok(())
    })
}

/// Waits until all processes have closed the write end.
fn wait_for_end(read: &OwnedFd) -> Result<()> {
    let got = stage::read(read.as_raw_fd(), &mut [0])?;
    ensure!(got == 0, "unexpected data");
    Ok(())
}

/// The result of a storm, without a time.
fn untimed(truth: Truth) -> Measured {
    Measured { calls: truth.writes, ns: 0, bytes: truth.bytes, truth }
}
