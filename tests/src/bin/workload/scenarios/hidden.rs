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
use crate::{ledger::Ledger, paths::socket, process, sys};

/// Finds a scenario of this file by name.
pub(crate) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "wide-registers" => wide_registers,
        "raced" => raced,
        "replaced-beside-a-writer" => replaced_beside_a_writer,
        "forged-lengths" => forged_lengths,
        "forged-by-a-process" => forged_by_a_process,
        "messages-while-read" => messages_while_read,
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
    write_by_x32();
    Ok(())
}

/// Tries to write by the number of another ABI (`__X32_SYSCALL_BIT`), which most kernels lack. No memory is at the address.
fn write_by_x32() {
    // SAFETY: the kernel reads from no valid address and writes to none.
    unsafe { libc::syscall(1 << 30 | libc::SYS_write, 1, std::ptr::null::<u8>(), 10) };
}

/// A thread writes to fd 1 while another one replaces fd 1 again and again: by stdout and by another file.
fn raced(_: &mut Ledger) -> Result<()> {
    let stdout = sys::dup3_free(1)?;
    let other = memfd_create("other", MemfdFlags::CLOEXEC)?;
    let ends = Arc::new(AtomicBool::new(false));
    let writes = Arc::new(AtomicU32::new(0));
    let (at_end, count) = (Arc::clone(&ends), Arc::clone(&writes));
    let writer = thread::spawn(move || {
        while !at_end.load(Ordering::Relaxed) {
            let _ = sys::write(1, &[b'r'; 100]);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    // On a busy machine the writer may begin late, and the two threads may share a processor: then one of the files may be
    // on fd 1 in all of the writer's turns.
    let mut rounds = 0;
    let is_raced = || {
        let has_some = |fd: RawFd| {
            std::fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|file| file.len() > 0)
        };
        writes.load(Ordering::Relaxed) >= 1_000 && has_some(other.as_raw_fd()) && has_some(stdout)
    };
    while rounds < 20_000 || !is_raced() {
        sys::dup2(other.as_raw_fd(), 1)?;
        sys::dup2(stdout, 1)?;
        rounds += 1;
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
    send_while(|forgery| {
        let forger = thread::spawn(move || forgery.repeat());
        Ok(Box::new(move || forger.join().map_err(|_| anyhow!("the forger panicked"))))
    })
}

/// The same while another process changes them, which has the same memory.
fn forged_by_a_process(_: &mut Ledger) -> Result<()> {
    extern "C" fn run(forgery: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the pointer is that of the forgery below, which outlives this process.
        unsafe { &*forgery.cast::<Forgery>() }.repeat();
        0
    }
    send_while(|forgery| {
        let stack = Box::leak(vec![0_u128; 16_384].into_boxed_slice()).as_mut_ptr_range();
        let forgery: *mut Forgery = Box::leak(Box::new(forgery));
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY: stack and forgery live until this process ends, and the function uses nothing else.
        let child = unsafe { libc::clone(run, stack.end.cast(), flags, forgery.cast()) };
        sys::check("clone", child.into())?;
        Ok(Box::new(move || process::wait_success(child)))
    })
}

/// Changes the stored length of a message until it is told to end.
struct Forgery {
    length: usize,
    ends: Arc<AtomicBool>,
}

impl Forgery {
    fn repeat(&self) {
        const FORGED: u32 = 1_000_000_000;
        // SAFETY: the message outlives the thread or process that runs this.
        let length = unsafe { AtomicU32::from_ptr(self.length as *mut u32) };
        while !self.ends.load(Ordering::Relaxed) {
            length.store(FORGED, Ordering::Relaxed);
        }
    }
}

/// Waits for a thread or process.
type Join = Box<dyn FnOnce() -> Result<()>>;

/// Sends messages while something else runs the forgery.
fn send_while(start: impl FnOnce(Forgery) -> Result<Join>) -> Result<()> {
    let bytes = vec![b'm'; 1_000];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid value: null pointers with zero lengths.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut part, 1);
    let ends = Arc::new(AtomicBool::new(false));
    let length = (&raw mut message.msg_len) as usize;
    let join = start(Forgery { length, ends: Arc::clone(&ends) })?;
    for _ in 0..200 {
        // SAFETY: the message and its buffer are valid during the call.
        let sent = unsafe { libc::syscall(libc::SYS_sendmmsg, 1, &raw mut message, 1, 0) };
        ensure!(sent == 1, "sendmmsg: {sent}, errno {}", sys::errno());
    }
    ends.store(true, Ordering::Relaxed);
    join()
}

/// Sends messages by `sendmmsg` while another process reads this one's arguments, for which the kernel uses its memory.
fn messages_while_read(ledger: &mut Ledger) -> Result<()> {
    let arguments = format!("/proc/{}/cmdline", std::process::id());
    let reader = process::fork(ledger, |_| {
        loop {
            std::fs::read(&arguments)?;
        }
    })?;
    for _ in 0..2_000 {
        socket::sendmmsg(ledger, 1, &[30, 1, 20])?;
    }
    process::signal(reader, libc::SIGKILL)?;
    process::wait(reader).map(drop)
}

/// Makes the file on fd 1 longer without a write.
fn extended(_: &mut Ledger) -> Result<()> {
    rustix::fs::ftruncate(rustix::stdio::stdout(), 5_000).context("ftruncate")
}
