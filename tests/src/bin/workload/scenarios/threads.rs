//! Processes with several threads.

use std::{
    fs, mem,
    os::fd::AsRawFd,
    sync::{Arc, Barrier},
    thread,
};

use anyhow::{Result, anyhow};
use tracer_tests::{deadline::wait_until, paths::Identity};

use crate::{
    ledger::Ledger,
    process::{self, Image},
    sys,
};

/// Sixteen threads write to the same fds at the same time.
pub(crate) fn at_once(ledger: &mut Ledger) -> Result<()> {
    const THREADS: usize = 16;
    const ROUNDS: usize = 200;
    let start = Arc::new(Barrier::new(THREADS));
    let threads = (0..THREADS)
        .map(|number| {
            let (start, mut own) = (Arc::clone(&start), ledger.fresh()?);
            Ok(thread::spawn(move || -> Result<Ledger> {
                start.wait();
                for round in 0..ROUNDS {
                    own.write(1, number * 10 + round % 7 + 1)?;
                    own.write(2, number + 1)?;
                }
                Ok(own)
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    for thread in threads {
        ledger.absorb(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
    }
    Ok(())
}

/// A thread that is not the leader execs. It takes over the leader's pid, and the leader ends without
/// an exit.
pub(crate) fn exec_by_non_leader(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 11)?;
    ledger.publish()?;
    let mut own = ledger.fresh()?;
    let image = Image::of_self(&["write", Identity::Direct.word()])?;
    thread::spawn(move || -> Result<()> {
        let failed = own.write(1, 222).and_then(|()| own.write(2, 33)).and_then(|()| own.publish());
        failed.and_then(|()| Err(image.exec()))
    })
    .join()
    .map_err(|_| anyhow!("the thread panicked"))??;
    Err(anyhow!("exec returned, errno {}", sys::errno()))
}

/// A thread ends and the process continues: it replaces its fd 1 by another pipe and forks. A tracer
/// that mistakes the end of the thread for the end of the process misses both.
pub(crate) fn one_ends(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 91)?;
    thread::spawn(|| ()).join().map_err(|_| anyhow!("the thread panicked"))?;
    // `join` can return before the kernel has removed the thread.
    let is_alone = || Ok((fs::read_dir("/proc/self/task")?.count() == 1).then_some(()));
    wait_until("the thread to be gone", is_alone)?;
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    ledger.write(1, 920)?;
    let child = process::fork(ledger, |own| {
        own.write(1, 93)?;
        own.write(2, 940)
    })?;
    process::wait_success(child)?;
    // Leaked, because the read end must outlive the writes.
    mem::forget(read);
    ledger.write(2, 95)
}
