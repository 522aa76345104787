//! Bytes that go, or move, by a call whose result does not tell it.

use std::{
    os::fd::{AsRawFd as _, RawFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::{
    fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create},
    io::Errno,
};

use super::answered;
use crate::{ledger::Ledger, process, sys};

/// Finds a scenario of this file by name.
pub(crate) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "punched" => {
            |ledger| changed(ledger, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)
        }
        "zeroed" => |ledger| changed(ledger, FallocateFlags::ZERO_RANGE),
        "preallocated" => |ledger| changed(ledger, FallocateFlags::KEEP_SIZE),
        "cut-after-many-facts" => cut_after_many_facts,
        "cut-often" => cut_often,
        "sent-and-failed" => sent_and_failed,
        "sent-more-than-told" => sent_more_than_told,
        "closed-beside-a-writer" => closed_beside_a_writer,
        "replaced-by-a-process" => replaced_by_a_process,
        "state-of-a-queue" => state_of_a_queue,
        "close-answered" => close_answered,
        _ => return None,
    })
}

/// Writes, and changes what was written by `fallocate(2)`.
fn changed(ledger: &mut Ledger, how: FallocateFlags) -> Result<()> {
    ledger.write(1, 8_192)?;
    match fallocate(rustix::stdio::stdout(), how, 0, 4_096) {
        // The file system cannot zero a range: a hole is as good.
        Err(Errno::OPNOTSUPP) => changed_by_hole(),
        done => done.context("fallocate"),
    }
}

fn changed_by_hole() -> Result<()> {
    let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(rustix::stdio::stdout(), how, 0, 4_096).context("fallocate")
}

/// Empties its stdout and makes it as long as before, after more facts than are told.
fn cut_after_many_facts(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 8_192)?;
    for _ in 0..40 {
        sys::dup2(2, 0)?;
    }
    ftruncate(rustix::stdio::stdout(), 0)?;
    ftruncate(rustix::stdio::stdout(), 8_192)?;
    Ok(())
}

/// Cuts its stdout more often than is told, the last time after its last write.
fn cut_often(ledger: &mut Ledger) -> Result<()> {
    for _ in 0..40 {
        ftruncate(rustix::stdio::stdout(), 0)?;
    }
    ledger.write(1, 8_192)?;
    ftruncate(rustix::stdio::stdout(), 0)?;
    ftruncate(rustix::stdio::stdout(), 8_192)?;
    Ok(())
}

/// The end of a page, behind which is one that cannot be written to.
fn end_of_memory() -> Result<*mut u8> {
    const PAGE: usize = 65_536;
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), 2 * PAGE, access, kind, -1, 0) };
    ensure!(start != libc::MAP_FAILED, "mmap: errno {}", sys::errno());
    // SAFETY: within the mapping, which is never unmapped.
    let end = unsafe { start.cast::<u8>().add(PAGE) };
    // SAFETY: the second half of the mapping, which nothing uses yet.
    let protected = unsafe { libc::mprotect(end.cast(), PAGE, libc::PROT_READ) };
    sys::check("mprotect", protected.into())?;
    Ok(end)
}

/// `sendfile` sends all bytes, and fails because it cannot store the offset.
fn sent_and_failed(_: &mut Ledger) -> Result<()> {
    let source = memfd_create("source", MemfdFlags::CLOEXEC)?;
    ensure!(sys::write(source.as_raw_fd(), &[b's'; 1_000]) == Ok(1_000));
    let offset = end_of_memory()?.cast::<libc::off_t>();
    // SAFETY: the kernel cannot write there, which is the point.
    let sent = unsafe { libc::syscall(libc::SYS_sendfile, 1, source.as_raw_fd(), offset, 1_000) };
    ensure!(sent == -1 && sys::errno() == libc::EFAULT, "sendfile: {sent}");
    Ok(())
}

/// `sendmmsg` sends two messages, and tells of one because it cannot store the length of the other.
fn sent_more_than_told(_: &mut Ledger) -> Result<()> {
    let bytes = [b'm'; 1_000];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid value: null pointers with zero lengths.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut part, 1);
    let end = end_of_memory()?.cast::<libc::mmsghdr>();
    // SAFETY: the first message is before the end of the writable memory. The other one is filled while it is writable.
    let list = unsafe {
        let protect = |access| libc::mprotect(end.cast(), 4_096, access);
        ensure!(protect(libc::PROT_READ | libc::PROT_WRITE) == 0);
        end.write(message);
        ensure!(protect(libc::PROT_READ) == 0);
        let list = end.sub(1);
        list.write(message);
        list
    };
    // SAFETY: the list and its buffers are valid during the call.
    let sent = unsafe { libc::syscall(libc::SYS_sendmmsg, 1, list, 2, 0) };
    ensure!(sent == 1, "sendmmsg: {sent}, errno {}", sys::errno());
    Ok(())
}

/// A thread sleeps in a write to fd 1, a full pipe. `replace` makes fd 1 lead to another file, and then the pipe is read.
fn while_writing(replace: impl FnOnce(RawFd) -> Result<()>) -> Result<()> {
    const SIZE: usize = 200_000;
    let (reads, writes) = sys::pipe()?;
    sys::dup2(writes.as_raw_fd(), 1)?;
    drop(writes);
    let writer = thread::spawn(|| sys::write(1, &[b'w'; SIZE]));
    thread::sleep(Duration::from_millis(200));
    let other = sys::move_to_high_fd(memfd_create("other", MemfdFlags::CLOEXEC)?)?;
    replace(other.as_raw_fd())?;
    let mut left = SIZE;
    while left > 0 {
        let read = sys::read(reads.as_raw_fd(), &mut [0; 65_536]);
        left -= read.map_err(|errno| anyhow!("read: errno {errno}"))?;
    }
    let written = writer.join().map_err(|_| anyhow!("the writer panicked"))?;
    ensure!(written == Ok(SIZE), "{written:?}");
    Ok(())
}

/// fd 1 is closed while a thread writes through it, and then the fd of a new pipe.
fn closed_beside_a_writer(_: &mut Ledger) -> Result<()> {
    while_writing(|_| {
        sys::close(1)?;
        let mut ends = [0; 2];
        // SAFETY: there is room for two fds.
        sys::check("pipe", unsafe { libc::pipe(ends.as_mut_ptr()) }.into())?;
        ensure!(ends.contains(&1), "{ends:?}");
        Ok(())
    })
}

/// A process with the same table of fds replaces fd 1 while this one writes through it.
fn replaced_by_a_process(_: &mut Ledger) -> Result<()> {
    extern "C" fn run(other: *mut libc::c_void) -> libc::c_int {
        // SAFETY: takes no pointer.
        i32::from(unsafe { libc::dup2(other as usize as RawFd, 1) } != 1)
    }
    while_writing(|other| {
        let stack = Box::leak(vec![0_u128; 16_384].into_boxed_slice()).as_mut_ptr_range();
        let flags = libc::CLONE_FILES | libc::SIGCHLD;
        // SAFETY: the child has a copy of this memory, and uses the stack only.
        let child = unsafe { libc::clone(run, stack.end.cast(), flags, other as usize as *mut _) };
        sys::check("clone", child.into())?;
        process::wait_success(child)
    })
}

/// Sends a message through fd 1, and reads the state of the queue, which takes no message out.
fn state_of_a_queue(_: &mut Ledger) -> Result<()> {
    let name = std::ffi::CString::new(format!("/tracer-test-{}", std::process::id()))?;
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    // SAFETY: the name is valid; no attributes are passed.
    let queue =
        unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, std::ptr::null::<libc::mq_attr>()) };
    sys::check("mq_open", queue.into())?;
    sys::dup2(queue, 1)?;
    // SAFETY: the buffer is valid during the call.
    let sent = unsafe { libc::mq_send(1, [b'q'; 100].as_ptr().cast(), 100, 0) };
    sys::check("mq_send", sent.into())?;
    for _ in 0..2 {
        // SAFETY: the buffer is valid during the call.
        let read = unsafe { libc::pread(queue, [0_u8; 50].as_mut_ptr().cast(), 50, 0) };
        ensure!(read > 0, "pread: errno {}", sys::errno());
    }
    // SAFETY: the name is valid.
    sys::check("mq_unlink", unsafe { libc::mq_unlink(name.as_ptr()) }.into()).map(drop)
}

/// A filter answers `close(1)`, which never runs.
fn close_answered(ledger: &mut Ledger) -> Result<()> {
    answered::answer_close_of_stdout()?;
    sys::close(1)?;
    ledger.write(1, 1_000)
}
