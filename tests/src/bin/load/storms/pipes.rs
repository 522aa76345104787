//! Many pipes that are open at the same time.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Result, ensure};

use super::{size, untimed, wait_for_end, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree::{self, Child},
};

/// Pipes per process. Each takes two fds, and the usual limit is 1,024.
const EACH: u64 = 450;

/// Opens this many pipes, writes to each through fd 1, then reads each through fd 0.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    storm(request.calls, empty).map(untimed)
}

/// Like [`run`] without reading, so that only writes can be lost.
pub(crate) fn run_unread(request: &Request) -> Result<Measured> {
    storm(request.calls, |_, _| Ok(())).map(untimed)
}

/// What a process does with its filled pipes, given the number of the first one.
pub(super) type Then = fn(&[(OwnedFd, OwnedFd)], u64) -> Result<()>;

pub(super) fn storm(pipes: u64, then: Then) -> Result<Truth> {
    let (listen, hold) = stage::pipe()?;
    let (filled, fill_done) = stage::pipe()?;
    let (mut hold, mut truth) = (Some(hold), Truth::default());
    let mut holders = Vec::new();
    for first in (0..pipes).step_by(EACH as usize) {
        let numbers = first..pipes.min(first + EACH);
        let bytes = numbers.clone().map(size).sum();
        truth += Truth::of_process(numbers.end - numbers.start, bytes);
        let holder = tree::fork(|| {
            hold = None;
            let pipes = numbers.clone().map(|_| stage::pipe()).collect::<Result<Vec<_>>>()?;
            fill(&pipes, first)?;
            stage::write_all(fill_done.as_raw_fd(), b"f")?;
            wait_for_end(&listen)?;
            then(&pipes, first)
        });
        holders.push(holder?);
    }
    for _ in &holders {
        ensure!(stage::read(filled.as_raw_fd(), &mut [0])? == 1, "a holder of pipes is gone");
    }
    drop(hold);
    holders.into_iter().try_for_each(Child::wait)?;
    truth.pipes = pipes;
    Ok(truth)
}

fn fill(pipes: &[(OwnedFd, OwnedFd)], first: u64) -> Result<()> {
    for ((_, end), number) in pipes.iter().zip(first..) {
        stage::dup_to(end, 1)?;
        write(size(number))?;
    }
    Ok(())
}

pub(super) fn empty(pipes: &[(OwnedFd, OwnedFd)], first: u64) -> Result<()> {
    let mut buffer = vec![0; super::LONGEST];
    for ((end, _), number) in pipes.iter().zip(first..) {
        stage::dup_to(end, 0)?;
        let got = stage::read(0, &mut buffer)? as u64;
        ensure!(got == size(number), "pipe {number}: {got} bytes");
    }
    Ok(())
}
