//! Programs that try to hide what they write, or to make up what they did not.

use std::{
    os::fd::{AsRawFd as _, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use fastrand::Rng;
use rustix::fs::{MemfdFlags, memfd_create};

use super::random::widths;
use crate::{ledger::Ledger, sys};

/// Finds a scenario of this file by name.
pub(crate) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "wide-registers" => wide_registers,
        "raced" => raced,
        "replaced-beside-a-writer" => replaced_beside_a_writer,
        "forged-lengths" => forged_lengths,
        "extended" => extended,
        _ => return None,
    })
}

/// Writes by calls of which all registers have bits that the kernel ignores.
fn wide_registers(ledger: &mut Ledger) -> Result<()> {
    let mut random = Rng::with_seed(7);
    for size in [1, 300, 4_000, 70] {
        widths::write(ledger, 1, size, &mut random)?;
        widths::write(ledger, 2, size + 1, &mut random)?;
    }
    Ok(())
}

/// A thread writes to fd 1 while another one replaces fd 1 again and again: by stdout and by another file.
fn raced(_: &mut Ledger) -> Result<()> {
    let stdout = sys::dup3_free(1)?;
    let other = memfd_create("other", MemfdFlags::CLOEXEC)?;
    let ends = Arc::new(AtomicBool::new(false));
    let at_end = Arc::clone(&ends);
    let writer = thread::spawn(move || {
        while !at_end.load(Ordering::Relaxed) {
            let _ = sys::write(1, &[b'r'; 100]);
        }
    });
    for _ in 0..2_000 {
        sys::dup2(other.as_raw_fd(), 1)?;
        sys::dup2(stdout, 1)?;
    }
    ends.store(true, Ordering::Relaxed);
    writer.join().map_err(|_| anyhow!("the writer panicked"))
}

/// A thread replaces fd 2 while another one, which wrote to fd 1 only, waits.
fn replaced_beside_a_writer(ledger: &mut Ledger) -> Result<()> {
    let mut own = ledger.fresh()?;
    let (waits, wakes) = sys::pipe()?;
    let waiting: RawFd = waits.as_raw_fd();
    let writer = thread::spawn(move || -> Result<Ledger> {
        own.write(1, 700)?;
        let woken = sys::read(waiting, &mut [0]);
        ensure!(woken == Ok(1), "{woken:?}");
        Ok(own)
    });
    let stderr = sys::dup3_free(2)?;
    for _ in 0..100 {
        sys::dup2(stderr, 2)?;
    }
    ledger.write(2, 30)?;
    let woken = sys::write(wakes.as_raw_fd(), b"w");
    ensure!(woken == Ok(1), "{woken:?}");
    ledger.absorb(writer.join().map_err(|_| anyhow!("the writer panicked"))??);
    Ok(())
}

/// Sends messages by `sendmmsg` while another thread changes the lengths that the kernel has stored.
fn forged_lengths(_: &mut Ledger) -> Result<()> {
    const FORGED: u32 = 1_000_000_000;
    let bytes = vec![b'm'; 1_000];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid value: null pointers with zero lengths.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut part, 1);
    let length = (&raw mut message.msg_len) as usize;
    let ends = Arc::new(AtomicBool::new(false));
    let at_end = Arc::clone(&ends);
    let forger = thread::spawn(move || {
        // SAFETY: the message outlives this thread, which is joined below.
        let length = unsafe { AtomicU32::from_ptr(length as *mut u32) };
        while !at_end.load(Ordering::Relaxed) {
            length.store(FORGED, Ordering::Relaxed);
        }
    });
    for _ in 0..200 {
        // SAFETY: the message and its buffer are valid during the call.
        let sent = unsafe { libc::syscall(libc::SYS_sendmmsg, 1, &raw mut message, 1, 0) };
        ensure!(sent == 1, "sendmmsg: {sent}, errno {}", sys::errno());
    }
    ends.store(true, Ordering::Relaxed);
    forger.join().map_err(|_| anyhow!("the forger panicked"))
}

/// Makes the file on fd 1 longer without a write.
fn extended(_: &mut Ledger) -> Result<()> {
    rustix::fs::ftruncate(rustix::stdio::stdout(), 5_000).context("ftruncate")
}
