//! Many threads that write to one fd.

use std::{
    sync::Barrier,
    thread::{Builder, scope},
};

use anyhow::{Context as _, Result, anyhow};

use super::{size, untimed, write};
use crate::{
    measure::{Measured, Truth},
    stage::Request,
    tree,
};

/// Writes per thread.
const WRITES: u64 = 20;
/// Stack size of a thread in bytes; small, because there are many.
const STACK: usize = 64 << 10;

/// Runs this many threads in one process, which write to fd 1, a pipe, at the same time.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    storm(request.calls).map(untimed)
}

pub(super) fn storm(threads: u64) -> Result<Truth> {
    let bytes = (0..threads).map(size).sum::<u64>() * WRITES;
    let reader = super::stdout_into_reader(bytes)?;
    tree::fork(|| all_at_once(threads))?.wait()?;
    reader.wait()?;
    let mut truth = Truth::of_process(threads * WRITES, bytes);
    truth += Truth::of_reader();
    truth.pipes = 1;
    Ok(truth)
}

fn all_at_once(threads: u64) -> Result<()> {
    let start = Barrier::new(usize::try_from(threads)?);
    scope(|scope| {
        let writers = (0..threads).map(|number| {
            let start = &start;
            let write_all = move || {
                start.wait();
                (0..WRITES).try_for_each(|_| write(size(number)))
            };
            let writer = Builder::new().stack_size(STACK).spawn_scoped(scope, write_all);
            // Without this thread the others would wait at the barrier forever.
            writer.unwrap_or_else(|error| {
                eprintln!("load: thread {number}: {error}");
                std::process::abort()
            })
        });
        let writers: Vec<_> = writers.collect();
        let join = |writer: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            writer.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        writers.into_iter().try_for_each(join)
    })
    .context("the threads")
}
