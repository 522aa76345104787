//! io_uring requests that complete several times, whose completions find no room, that were submitted before the trace,
//! and splices as readers. In each scenario fd 1 is the object, and each step checks what it took.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    ptr,
};

use anyhow::{Context as _, Result, ensure};
use io_uring::{
    IoUring, cqueue, opcode,
    squeue::{Entry, Flags},
    types,
};
use tracer_tests::gate;

use super::reads::{pair, socket_on_stdout};
use crate::{
    ledger::Ledger,
    paths::uring::{complete, push, ring, silent_ring},
    sys::{self, Unsupported},
};

/// Finds a scenario of this file by name.
pub(super) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "multishot-read" => multishot_read,
        "multishot-receive" => multishot_receive,
        "same-data" => same_data,
        "own-data" => own_data,
        "bundle" => bundle,
        "overflow" => overflow,
        "splices" => splices,
        "tees" => tees,
        "one-request" => one_request,
        "silent-reads" => silent_reads,
        _ => return None,
    })
}

/// Group of the provided buffers, their number and size.
const GROUP: u16 = 7;
const BUFFERS: u16 = 64;
const SIZE: usize = 512;

/// A ring with provided buffers.
struct Provided {
    ring: IoUring,
    buffers: Vec<u8>,
}

impl Provided {
    fn new() -> Result<Self> {
        let mut this = Self { ring: ring()?, buffers: vec![0; SIZE * usize::from(BUFFERS)] };
        this.provide(0, BUFFERS)?;
        Ok(this)
    }

    fn provide(&mut self, first: u16, count: u16) -> Result<()> {
        let at = self.buffers[usize::from(first) * SIZE..].as_mut_ptr();
        let request = opcode::ProvideBuffers::new(at, SIZE as i32, count, GROUP, first);
        push(&mut self.ring, &request.build())?;
        let (_, provided) = complete(&mut self.ring, 1)?[0];
        ensure!(provided.is_ok(), "provide buffers: {provided:?}");
        Ok(())
    }

    /// Takes completions until as many bytes have come; gives their buffers back. Returns the bytes by `user_data`.
    fn take(&mut self, expected: usize) -> Result<BTreeMap<u64, usize>> {
        let mut taken = BTreeMap::<u64, usize>::new();
        while taken.values().sum::<usize>() < expected {
            self.ring.submit_and_wait(1).context("io_uring_enter")?;
            let done: Vec<_> = self.ring.completion().collect();
            for done in done {
                let result = done.result();
                if result == -libc::EINVAL {
                    return Err(Unsupported("this kernel has no such request".into()).into());
                }
                let moved = usize::try_from(result).ok().context(format!("result {result}"))?;
                *taken.entry(done.user_data()).or_default() += moved;
                if let Some(buffer) = cqueue::buffer_select(done.flags()) {
                    self.provide(buffer, 1)?;
                }
            }
        }
        Ok(taken)
    }
}

fn receive(fd: RawFd) -> Entry {
    opcode::RecvMulti::new(types::Fd(fd), GROUP).build()
}

/// Reads a pipe by one request that completes many times. Written and taken: 40 × 300.
pub(crate) fn multishot_read(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    let request = opcode::ReadMulti::new(types::Fd(read.as_raw_fd()), 0, GROUP).offset(u64::MAX);
    many_times(ledger, &request.build())
}

/// The same with a socket.
pub(crate) fn multishot_receive(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    many_times(ledger, &receive(far.as_raw_fd()))
}

fn many_times(ledger: &mut Ledger, request: &Entry) -> Result<()> {
    let mut reader = Provided::new()?;
    push(&mut reader.ring, &request.clone().user_data(5))?;
    for _ in 0..40 {
        ledger.write(1, 300)?;
        reader.take(300)?;
    }
    Ok(())
}

/// Two sockets are read by requests with the same `user_data`. Which of them a completion is about is unknown.
pub(crate) fn same_data(ledger: &mut Ledger) -> Result<()> {
    let first = socket_on_stdout(libc::SOCK_STREAM)?;
    let (near, second) = pair(libc::SOCK_STREAM)?;
    let mut reader = Provided::new()?;
    for fd in [&first, &second] {
        push(&mut reader.ring, &receive(fd.as_raw_fd()).user_data(5))?;
    }
    for _ in 0..10 {
        ledger.write(1, 300)?;
        reader.take(300)?;
        ledger.write(near.as_raw_fd(), 200)?;
        reader.take(200)?;
    }
    Ok(())
}

/// Two sockets are read by requests with different `user_data`, on one ring.
pub(crate) fn own_data(ledger: &mut Ledger) -> Result<()> {
    let first = socket_on_stdout(libc::SOCK_STREAM)?;
    let (near, second) = pair(libc::SOCK_STREAM)?;
    sys::dup2(near.as_raw_fd(), 2)?;
    let mut reader = Provided::new()?;
    for (data, fd) in [(5, &first), (6, &second)] {
        push(&mut reader.ring, &receive(fd.as_raw_fd()).user_data(data))?;
    }
    for _ in 0..10 {
        ledger.write(1, 300)?;
        ledger.write(2, 200)?;
        let taken = reader.take(500)?;
        ensure!(taken == [(5, 300), (6, 200)].into(), "{taken:?}");
    }
    Ok(())
}

/// Sends 1,000 buffers of 100 bytes by one request (`IORING_RECVSEND_BUNDLE`), which completes several times.
pub(crate) fn bundle(ledger: &mut Ledger) -> Result<()> {
    const COUNT: u16 = 1000;
    const EACH: usize = 100;
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    let mut ring = ring()?;
    let bytes = vec![b'b'; EACH * usize::from(COUNT)];
    register_ring_of_buffers(&ring, &bytes, EACH)?;
    push(
        &mut ring,
        &opcode::SendBundle::new(types::Fd(1), GROUP).flags(libc::MSG_WAITALL).build(),
    )?;
    let mut is_over = false;
    while !is_over {
        ring.submit_and_wait(1).context("io_uring_enter")?;
        for done in ring.completion() {
            let result = usize::try_from(done.result()).map_err(|_| -done.result());
            if result == Err(libc::EINVAL) {
                return Err(Unsupported("this kernel has no bundles".into()).into());
            }
            let _ = ledger.note(1, bytes.len(), result);
            is_over = !cqueue::more(done.flags());
        }
    }
    drain(&far, bytes.len())
}

/// Registers a ring with all these bytes as buffers of one size (`io_uring_register_buf_ring(3)`).
fn register_ring_of_buffers(ring: &IoUring, bytes: &[u8], each: usize) -> Result<()> {
    const ENTRIES: u16 = 1024;
    let size = usize::from(ENTRIES) * size_of::<types::BufRingEntry>();
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice. It is never unmapped.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
    ensure!(start != libc::MAP_FAILED, "mmap: errno {}", sys::errno());
    // SAFETY: the mapping has this size and alignment, and all-zero entries are valid.
    let entries: &mut [types::BufRingEntry] =
        unsafe { std::slice::from_raw_parts_mut(start.cast(), usize::from(ENTRIES)) };
    for (index, (entry, buffer)) in entries.iter_mut().zip(bytes.chunks(each)).enumerate() {
        entry.set_addr(buffer.as_ptr() as u64);
        entry.set_len(each as u32);
        entry.set_bid(index as u16);
    }
    let submitter = ring.submitter();
    // SAFETY: the entries and their buffers outlive the ring.
    let registered =
        unsafe { submitter.register_buf_ring_with_flags(start as u64, ENTRIES, GROUP, 0) };
    registered.map_err(|error| Unsupported(format!("rings of buffers: {error}")))?;
    // SAFETY: the first entry has the tail; the kernel reads it when a request selects a buffer.
    unsafe {
        let tail = types::BufRingEntry::tail(start.cast()).cast_mut();
        tail.write_volatile((bytes.len() / each) as u16);
    }
    Ok(())
}

fn drain(far: &OwnedFd, mut rest: usize) -> Result<()> {
    let mut room = vec![0; rest];
    while rest > 0 {
        let taken =
            sys::read(far.as_raw_fd(), &mut room).map_err(std::io::Error::from_raw_os_error)?;
        rest -= taken;
    }
    Ok(())
}

/// Writes and reads by requests that complete while the completion queue is full. Written: 40 × 100; taken: 30 × 100.
pub(crate) fn overflow(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    let mut ring = IoUring::builder().setup_cqsize(2).build(2).context("io_uring_setup")?;
    let (bytes, mut room) = ([b'o'; 100], [0; 100]);
    for index in 0..70_u64 {
        let entry = if index < 40 {
            opcode::Send::new(types::Fd(1), bytes.as_ptr(), 100).build()
        } else {
            opcode::Recv::new(types::Fd(far.as_raw_fd()), room.as_mut_ptr(), 100).build()
        };
        push(&mut ring, &entry.user_data(index / 40))?;
        ring.submit().context("io_uring_enter")?;
    }
    let mut results = BTreeMap::<u64, usize>::new();
    let mut count = 0;
    while count < 70 {
        ring.submit_and_wait(1).context("io_uring_enter")?;
        for done in ring.completion() {
            let moved = usize::try_from(done.result()).map_err(|_| -done.result());
            if done.user_data() == 0 {
                let _ = ledger.note(1, 100, moved);
            }
            *results.entry(done.user_data()).or_default() += moved.unwrap_or(0);
            count += 1;
        }
    }
    ensure!(results == [(0, 4000), (1, 3000)].into(), "{results:?}");
    Ok(())
}

/// Moves bytes from the reading end of fd 1 to another pipe, by a request. Written: 5,000; taken: 3,000.
pub(crate) fn splices(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    let (_read, write) = sys::pipe()?;
    ledger.write(1, 5000)?;
    let mut ring = ring()?;
    splice(&mut ring, types::Fd(far.as_raw_fd()), &write, 2000)?;
    splice(&mut ring, types::Fd(far.as_raw_fd()), &write, 1000)
}

fn splice(ring: &mut IoUring, from: types::Fd, to: &OwnedFd, length: u32) -> Result<()> {
    let request = opcode::Splice::new(from, -1, types::Fd(to.as_raw_fd()), -1, length);
    push(ring, &request.build())?;
    let (_, moved) = complete(ring, 1)?[0];
    ensure!(moved == Ok(length as usize), "splice of {length} bytes: {moved:?}");
    Ok(())
}

/// Copies what is in a pipe by `IORING_OP_TEE`, which takes nothing, and then splices a part of it. Written: 4,000;
/// taken: 1,500.
pub(crate) fn tees(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    let (_copy, to) = sys::pipe()?;
    ledger.write(1, 4000)?;
    let mut ring = ring()?;
    let (from, into) = (types::Fd(read.as_raw_fd()), types::Fd(to.as_raw_fd()));
    push(&mut ring, &opcode::Tee::new(from, into, 4000).build())?;
    let (_, copied) = complete(&mut ring, 1)?[0];
    ensure!(copied == Ok(4000), "tee: {copied:?}");
    splice(&mut ring, from, &to, 1500)
}

/// Reads the pipe on fd 1 by a request that is pending when the trace begins. Written and taken: 700.
pub(crate) fn pending_before(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    let mut ring = ring()?;
    let mut room = [0; 1000];
    let request = opcode::Read::new(types::Fd(read.as_raw_fd()), room.as_mut_ptr(), 1000);
    push(&mut ring, &request.offset(u64::MAX).build())?;
    ring.submit().context("io_uring_enter")?;
    gate::wait()?;
    ledger.write(1, 700)?;
    let (_, taken) = complete(&mut ring, 1)?[0];
    ensure!(taken == Ok(700), "the request that was pending: {taken:?}");
    Ok(())
}

/// Reads of which no completion tells (`IOSQE_CQE_SKIP_SUCCESS`), from the other end of fd 1 and from a file of the
/// program's own. Written: 5,000; taken: 5,000 by two requests.
pub(crate) fn silent_reads(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    let own = fs::File::open("/proc/self/exe")?;
    ledger.write(1, 5000)?;
    let mut ring = silent_ring()?;
    // A short read would have a completion.
    let mut room = [0; 2500];
    for fd in [far.as_raw_fd(), own.as_raw_fd(), far.as_raw_fd()] {
        let read = opcode::Read::new(types::Fd(fd), room.as_mut_ptr(), room.len() as u32);
        push(&mut ring, &read.build().flags(Flags::SKIP_SUCCESS))?;
    }
    // A request that waits for those before it shows that they are over.
    push(&mut ring, &opcode::Nop::new().build().flags(Flags::IO_DRAIN))?;
    complete(&mut ring, 1)?;
    let left = rustix::io::ioctl_fionread(&far)?;
    ensure!(left == 0, "{left} B are left");
    Ok(())
}

/// Reads fd 0 by one request, which is pending before the truth is published. Nothing else is read.
pub(crate) fn one_request(ledger: &mut Ledger) -> Result<()> {
    let mut ring = ring()?;
    let mut room = [0; 1000];
    let request = opcode::Read::new(types::Fd(0), room.as_mut_ptr(), 1000).offset(u64::MAX);
    push(&mut ring, &request.build())?;
    ring.submit().context("io_uring_enter")?;
    ledger.publish()?;
    complete(&mut ring, 1).map(drop)
}
