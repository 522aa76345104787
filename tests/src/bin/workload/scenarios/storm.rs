//! A fork storm that is raging when the tracer attaches.
//!
//! Eight chains: each link forks the next one and ends, so no pid lives for more than some
//! milliseconds, and whole generations come and go while a tracer looks for the tree. Links
//! write only once the gate is open, so what a tracer must have counted is exactly known: a
//! link that it failed to adopt shows as missing bytes. The first process is the subreaper of
//! all, so that at any moment every living link is its child or grandchild.

use std::{
    env,
    ffi::c_long,
    fs::OpenOptions,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_tests::gate::GATE_ENV;

use crate::{ledger::Ledger, process, sys};

const CHAINS: u32 = 8;

/// Links after which the storm ends although nobody opened the gate.
const MOST: u32 = 10_000;

/// Links that write after the gate was opened.
const WRITING: u32 = 600;

/// Keeps the rate near 400 forks a second: a storm, but one that two cores survive.
const PACE: Duration = Duration::from_millis(15);

/// What all links share.
struct Weather {
    links: AtomicU32,
    writers: AtomicU32,
    gate_is_open: AtomicU32,
}

/// The storm: forks from the start, writes after the gate.
pub(crate) fn play(ledger: &mut Ledger) -> Result<()> {
    let weather = share()?;
    // SAFETY: takes no pointer.
    let reaper = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    sys::check("PR_SET_CHILD_SUBREAPER", c_long::from(reaper))?;
    for _ in 0..CHAINS {
        process::fork(ledger, |own| live(own, weather))?;
    }
    watch_gate(weather)?;
    ledger.write(1, 7)?;
    while reap(0)? {}
    let writers = weather.writers.load(Ordering::SeqCst);
    ensure!(writers >= WRITING, "only {writers} links wrote");
    Ok(())
}

/// One link: rests, writes if the gate is open, forks its successor and ends.
fn live(ledger: &mut Ledger, weather: &Weather) -> Result<()> {
    std::thread::sleep(PACE);
    let number = weather.links.fetch_add(1, Ordering::SeqCst);
    let mut is_last = number > MOST;
    if weather.gate_is_open.load(Ordering::SeqCst) != 0 {
        ledger.write(1, number as usize % 1000 + 1)?;
        ledger.write(2, 1)?;
        is_last |= weather.writers.fetch_add(1, Ordering::SeqCst) >= WRITING;
    }
    if !is_last {
        process::fork(ledger, |own| live(own, weather))?;
    }
    Ok(())
}

/// Waits at the gate and reaps meanwhile: the storm must not fill the process table.
fn watch_gate(weather: &Weather) -> Result<()> {
    let Some(path) = env::var_os(GATE_ENV) else {
        weather.gate_is_open.store(1, Ordering::SeqCst);
        return Ok(());
    };
    let fifo = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let fifo = sys::out_of_the_way(fifo.into())?;
    let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    loop {
        let mut watched = [PollFd::from_borrowed_fd(fifo.as_fd(), PollFlags::IN)];
        poll(&mut watched, Some(&tick)).context("waiting at the gate")?;
        if watched[0].revents().contains(PollFlags::IN) {
            weather.gate_is_open.store(1, Ordering::SeqCst);
            return Ok(());
        }
        ensure!(reap(libc::WNOHANG)?, "the storm ended before the gate was opened");
    }
}

/// Reaps what has ended; says whether any process is left.
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

fn share() -> Result<&'static Weather> {
    let size = std::mem::size_of::<Weather>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    ensure!(start != libc::MAP_FAILED, "mmap: errno {}", sys::errno());
    let start = NonNull::new(start.cast::<Weather>()).context("mapped at 0")?;
    // SAFETY: the mapping is never unmapped, is aligned to a page, and zeroes are a valid value
    // of three atomics.
    Ok(unsafe { start.as_ref() })
}
