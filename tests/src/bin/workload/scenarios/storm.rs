//! A fork storm that is running when tracer attaches.
//!
//! In eight chains each process (a link) forks the next one and exits, so a process lives for some
//! milliseconds, and many generations pass while tracer searches for the tree. Links write only after
//! the gate is open, so the expected counts are exact: a link that tracer did not adopt shows as
//! missing bytes. The first process is the subreaper, so every living link is its child or grandchild.

use std::{
    env,
    ffi::c_long,
    fs::OpenOptions,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_tests::gate::GATE_ENV;

use crate::{ledger::Ledger, process, sys};

const CHAINS: u32 = 8;

/// Number of links after which the storm ends even if the gate is closed.
const MOST: u32 = 10_000;

/// Number of links that write after the gate was opened.
const WRITING: u32 = 600;

/// Lifetime of a link. Limits the rate to about 400 forks per second, which two cores can handle.
const PACE: Duration = Duration::from_millis(15);

/// State in memory that all links share.
struct Shared {
    links: &'static AtomicU32,
    writers: &'static AtomicU32,
    gate_is_open: &'static AtomicU32,
}

/// Runs the storm: forks from the start, writes after the gate.
pub(crate) fn run(ledger: &mut Ledger) -> Result<()> {
    let [links, writers, gate_is_open] = sys::shared_counters()?;
    let shared = &Shared { links, writers, gate_is_open };
    // SAFETY: takes no pointer.
    let reaper = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    sys::check("PR_SET_CHILD_SUBREAPER", c_long::from(reaper))?;
    for _ in 0..CHAINS {
        process::fork(ledger, |own| link(own, shared))?;
    }
    watch_gate(shared)?;
    ledger.write(1, 7)?;
    while reap(0)? {}
    let writers = shared.writers.load(Ordering::SeqCst);
    ensure!(writers >= WRITING, "only {writers} links wrote");
    Ok(())
}

/// Runs a link: sleeps, writes if the gate is open, forks its successor and returns.
fn link(ledger: &mut Ledger, shared: &Shared) -> Result<()> {
    std::thread::sleep(PACE);
    let number = shared.links.fetch_add(1, Ordering::SeqCst);
    let mut is_last = number > MOST;
    if shared.gate_is_open.load(Ordering::SeqCst) != 0 {
        ledger.write(1, number as usize % 1000 + 1)?;
        ledger.write(2, 1)?;
        is_last |= shared.writers.fetch_add(1, Ordering::SeqCst) >= WRITING;
    }
    if !is_last {
        process::fork(ledger, |own| link(own, shared))?;
    }
    Ok(())
}

/// Waits at the gate and meanwhile reaps links, so that they do not fill the process table.
fn watch_gate(shared: &Shared) -> Result<()> {
    let Some(path) = env::var_os(GATE_ENV) else {
        shared.gate_is_open.store(1, Ordering::SeqCst);
        return Ok(());
    };
    let fifo = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let fifo = sys::move_to_high_fd(fifo.into())?;
    let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    loop {
        let mut watched = [PollFd::from_borrowed_fd(fifo.as_fd(), PollFlags::IN)];
        poll(&mut watched, Some(&tick)).context("waiting at the gate")?;
        if watched[0].revents().contains(PollFlags::IN) {
            shared.gate_is_open.store(1, Ordering::SeqCst);
            return Ok(());
        }
        ensure!(reap(libc::WNOHANG)?, "the storm ended before the gate was opened");
    }
}

/// Reaps ended links; returns whether any process is left.
fn reap(flags: i32) -> Result<bool> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        let pid = c_long::from(unsafe { libc::waitpid(-1, &raw mut status, flags) });
        match sys::outcome(pid) {
            Ok(0) => return Ok(true),
            Ok(_) => ensure!(status == 0, "a link ended with wait status {status:#x}"),
            Err(libc::ECHILD) => return Ok(false),
            Err(errno) => {
                return Err(std::io::Error::from_raw_os_error(errno)).context("waitpid");
            }
        }
    }
}
