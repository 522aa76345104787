//! Many pipes, all open at the same time.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Result, ensure};

use super::{size, storm, wait_for_end, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree::{self, Child},
};

/// Pipes of one process: two fds each, and a limit of 1,024 is usual.
const EACH: u64 = 450;

/// So many pipes: each is written to through fd 1, and read through fd 0 when all of them are full.
pub(crate) fn play(request: &Request) -> Result<Measured> {
    of(request.calls, empty).map(storm)
}

/// The same, and nobody reads them: what a tracer misses, it misses of the writes.
pub(crate) fn play_unread(request: &Request) -> Result<Measured> {
    of(request.calls, |_, _| Ok(())).map(storm)
}

/// For a mixture.
pub(super) fn read(pipes: u64) -> Result<Truth> {
    of(pipes, empty)
}

/// The pipes of one process, and the number of the first of them.
type Then = fn(&[(OwnedFd, OwnedFd)], u64) -> Result<()>;

fn of(pipes: u64, then: Then) -> Result<Truth> {
    let (listen, hold) = stage::pipe()?;
    let (told, tell) = stage::pipe()?;
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
            stage::write_all(tell.as_raw_fd(), b"f")?;
            wait_for_end(&listen)?;
            then(&pipes, first)
        });
        holders.push(holder?);
    }
    for _ in &holders {
        ensure!(stage::read(told.as_raw_fd(), &mut [0])? == 1, "a holder of pipes is gone");
    }
    drop(hold);
    holders.into_iter().try_for_each(Child::wait)?;
    truth.pipes = pipes;
    Ok(truth)
}

fn fill(pipes: &[(OwnedFd, OwnedFd)], first: u64) -> Result<()> {
    for ((_, end), number) in pipes.iter().zip(first..) {
        stage::put(end, 1)?;
        write(size(number))?;
    }
    Ok(())
}

fn empty(pipes: &[(OwnedFd, OwnedFd)], first: u64) -> Result<()> {
    let mut room = vec![0; super::LONGEST];
    for ((end, _), number) in pipes.iter().zip(first..) {
        stage::put(end, 0)?;
        let got = stage::read(0, &mut room)? as u64;
        ensure!(got == size(number), "pipe {number}: {got} bytes");
    }
    Ok(())
}
