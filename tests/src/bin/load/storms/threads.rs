//! Many threads on one fd.

use std::{
    sync::Barrier,
    thread::{Builder, scope},
};

use anyhow::{Context as _, Result, anyhow};

use super::{size, storm, write};
use crate::{
    measure::{Measured, Truth},
    stage::Request,
    tree,
};

/// Writes of each thread.
const WRITES: u64 = 20;
/// A thread needs little, and there are many.
const STACK: usize = 64 << 10;

/// So many threads of one process, all at once on fd 1, which is a pipe.
pub(crate) fn play(request: &Request) -> Result<Measured> {
    of(request.calls).map(storm)
}

pub(super) fn of(threads: u64) -> Result<Truth> {
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
            // The others wait for this one for ever.
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
