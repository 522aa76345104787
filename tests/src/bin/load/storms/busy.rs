//! Every CPU kept busy by writers for a while.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{size, storm, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree,
};

/// Writes between two looks at the clock.
const BETWEEN: u64 = 64;

/// So many seconds: a writer to `/dev/null` on each CPU, and one into a pipe with its reader.
pub(crate) fn play(request: &Request) -> Result<Measured> {
    of(Duration::from_secs(request.calls)).map(storm)
}

pub(super) fn of(time: Duration) -> Result<Truth> {
    let cpus = thread::available_parallelism().context("cannot ask for the CPUs")?.get();
    let (told, tell) = stage::pipe()?;
    let (read, into) = stage::pipe()?;
    let mut children = Vec::new();
    for _ in 0..cpus {
        children.push(tree::fork(|| report(&tell, write_for(time)?))?);
    }
    // The end of the pipe goes with the closure: the reader, which comes later, has no copy of it.
    children.push(tree::fork({
        let tell = &tell;
        move || {
            stage::put(&into, 1)?;
            report(tell, write_for(time)?)
        }
    })?);
    children.push(tree::fork(|| read_all(&read))?);
    let mut truth = Truth::of_reader();
    truth.pipes = 1;
    for _ in 0..=cpus {
        let mut line = [0; 16];
        let got = stage::read(told.as_raw_fd(), &mut line)?;
        ensure!(got == line.len(), "a writer said {got} bytes");
        let [writes, bytes] = [0, 8].map(|start| {
            let number = line[start..start + 8].try_into().unwrap_or_default();
            u64::from_ne_bytes(number)
        });
        truth += Truth::of_process(writes, bytes);
    }
    children.into_iter().try_for_each(tree::Child::wait)?;
    Ok(truth)
}

/// Writes and bytes.
fn write_for(time: Duration) -> Result<(u64, u64)> {
    let end = Instant::now() + time;
    let (mut writes, mut bytes) = (0, 0);
    while Instant::now() < end {
        for number in writes..writes + BETWEEN {
            write(size(number))?;
            bytes += size(number);
        }
        writes += BETWEEN;
    }
    Ok((writes, bytes))
}

/// In one write, which a pipe keeps whole.
fn report(tell: &OwnedFd, (writes, bytes): (u64, u64)) -> Result<()> {
    stage::write_all(tell.as_raw_fd(), &[writes.to_ne_bytes(), bytes.to_ne_bytes()].concat())
}

fn read_all(read: &OwnedFd) -> Result<()> {
    stage::put(read, 0)?;
    let mut room = vec![0; 1 << 16];
    while stage::read(0, &mut room)? > 0 {}
    Ok(())
}
