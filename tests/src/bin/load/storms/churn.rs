//! Short processes, each with a pipe of its own, a bounded number at a time: what a tracer keeps of them must not
//! grow with their number.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, ensure};

use super::{LONGEST, size, untimed, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree::{self, Child},
};

/// Processes at a time.
const AT_ONCE: usize = 200;

/// Starts one process for each call, and at most [`AT_ONCE`] at a time.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    let (mut running, mut truth) = (VecDeque::with_capacity(AT_ONCE), Truth::default());
    for number in 0..request.calls {
        if running.len() == AT_ONCE {
            end(running.pop_front())?;
        }
        running.push_back(begin(number)?);
        truth += Truth::of_process(1, size(number));
    }
    running.into_iter().try_for_each(|job| end(Some(job)))?;
    truth.pipes = request.calls;
    Ok(untimed(truth))
}

/// A process, the pipe that it writes to, and how much.
type Job = (Child, std::os::fd::OwnedFd, u64);

fn begin(number: u64) -> Result<Job> {
    let (read, end) = stage::pipe()?;
    let child = tree::fork(|| {
        stage::dup_to(&end, 1)?;
        write(size(number))
    })?;
    Ok((child, read, size(number)))
}

fn end(job: Option<Job>) -> Result<()> {
    let (child, read, bytes) = job.context("no process is left")?;
    stage::dup_to(&read, 0)?;
    let got = stage::read(0, &mut [0; LONGEST])? as u64;
    ensure!(got == bytes, "{got} of {bytes} bytes arrived");
    child.wait()
}
