//! Reads that take other than their result, or return late, and objects whose bytes move without a read or a write. In
//! each scenario fd 1 is the object, and each step checks what it took.

use std::{
    ffi::{CString, c_int, c_long, c_void},
    fs::OpenOptions,
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    ptr,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use io_uring::{opcode, types};

use crate::{
    ledger::Ledger,
    paths::uring::{complete, push, ring},
    sys::{self, Outcome, Unsupported},
};

/// Finds a scenario of this file by name.
pub(super) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "looks" => looks,
        "cut-messages" => cut_messages,
        "no-error-queue" => no_error_queue,
        "closed-in-a-read" => closed_in_a_read,
        "closed-in-a-receive" => closed_in_a_receive,
        "replaced-in-a-read" => replaced_in_a_read,
        "message-queue" => message_queue,
        "clones" => clones,
        "flushes" => flushes,
        _ => return None,
    })
}

/// A pair of connected unix sockets with high fd numbers.
pub(super) fn pair(kind: c_int) -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for two fds.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    sys::check("socketpair", c_long::from(made))?;
    // SAFETY: the call has just opened both for this function.
    let [one, other] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((sys::move_to_high_fd(one)?, sys::move_to_high_fd(other)?))
}

/// Points fd 1 at one of a pair of sockets; returns the other.
pub(super) fn socket_on_stdout(kind: c_int) -> Result<OwnedFd> {
    let (near, far) = pair(kind)?;
    sys::dup2(near.as_raw_fd(), 1)?;
    Ok(far)
}

fn segment(buffer: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }
}

fn message(segment: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all-zero is a valid `msghdr`: no address, no segments, no control data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (segment, 1);
    message
}

/// Receives in each way that takes flags; returns the results, of `recvmmsg` the length of its only message.
fn receive_in_every_way(fd: RawFd, room: usize, flags: c_int) -> Result<[Outcome; 5]> {
    let mut buffer = vec![0; room];
    let at: *mut c_void = buffer.as_mut_ptr().cast();
    let mut segment = segment(&mut buffer);
    let mut header = message(&mut segment);
    let mut messages = [libc::mmsghdr { msg_hdr: header, msg_len: 0 }];
    let null = ptr::null_mut::<c_void>();
    // SAFETY: the buffer is valid for `room` bytes during the calls, and so is everything that they point to.
    let (by_recv, by_message) = unsafe {
        (
            sys::outcome(libc::syscall(libc::SYS_recvfrom, fd, at, room, flags, null, null)),
            sys::outcome(libc::syscall(libc::SYS_recvmsg, fd, &raw mut header, flags)),
        )
    };
    let list = messages.as_mut_ptr();
    // SAFETY: as above.
    let count =
        sys::outcome(unsafe { libc::syscall(libc::SYS_recvmmsg, fd, list, 1, flags, null) });
    let by_list = count.map(|_| messages[0].msg_len as usize);
    let mut ring = ring()?;
    let request = opcode::Recv::new(types::Fd(fd), at.cast(), room as u32).flags(flags);
    push(&mut ring, &request.build())?;
    let by_ring = complete(&mut ring, 1)?[0].1;
    let request = opcode::RecvMsg::new(types::Fd(fd), &raw mut header).flags(flags as u32);
    push(&mut ring, &request.build())?;
    let by_ring_message = complete(&mut ring, 1)?[0].1;
    Ok([by_recv, by_message, by_list, by_ring, by_ring_message])
}

/// Looks at bytes in every way (`MSG_PEEK`), and then takes a part of them. Written: 3,000; taken: 1,000.
pub(crate) fn looks(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    ledger.write(1, 3000)?;
    let looks = receive_in_every_way(far.as_raw_fd(), 500, libc::MSG_PEEK)?;
    ensure!(looks == [Ok(500); 5], "{looks:?}");
    let mut ring = ring()?;
    let mut buffer = [0; 1000];
    let request = opcode::Recv::new(types::Fd(far.as_raw_fd()), buffer.as_mut_ptr(), 1000);
    push(&mut ring, &request.build())?;
    let taken = complete(&mut ring, 1)?[0].1;
    ensure!(taken == Ok(1000), "{taken:?}");
    Ok(())
}

/// Receives messages into buffers that are too small, with the message's length as the result (`MSG_TRUNC`). Written:
/// 5 × 1,000; delivered: 5 × 600.
pub(crate) fn cut_messages(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_SEQPACKET)?;
    for _ in 0..5 {
        ledger.write(1, 1000)?;
    }
    let cut = receive_in_every_way(far.as_raw_fd(), 600, libc::MSG_TRUNC)?;
    ensure!(cut == [Ok(1000); 5], "{cut:?}");
    Ok(())
}

/// Reads a unix socket with `MSG_ERRQUEUE`, which it ignores. Written and taken: 2,500.
pub(crate) fn no_error_queue(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    ledger.write(1, 2500)?;
    let taken = receive_in_every_way(far.as_raw_fd(), 500, libc::MSG_ERRQUEUE)?;
    ensure!(taken == [Ok(500); 5], "{taken:?}");
    Ok(())
}

/// A thread waits in a read, which is the call `number`, while this thread closes the fd. Then 5,000 bytes are written
/// and read. The fd is a new copy, and is closed before a survey can find it.
fn closed_in_read(
    ledger: &mut Ledger,
    far: RawFd,
    number: c_long,
    read: impl FnOnce(RawFd) -> Outcome + Send + 'static,
    close: impl FnOnce(RawFd) -> Result<()>,
) -> Result<()> {
    let (sender, tid) = mpsc::channel();
    let reader = thread::spawn(move || {
        let _ = sender.send(rustix::thread::gettid());
        read(far)
    });
    // `proc_pid_syscall(5)`: the number of the call in which a thread sleeps.
    let call = format!("/proc/self/task/{}/syscall", tid.recv()?.as_raw_pid());
    while !std::fs::read_to_string(&call)?.starts_with(&format!("{number} ")) {
        thread::sleep(Duration::from_millis(1));
    }
    close(far)?;
    ledger.write(1, 5000)?;
    let taken = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    ensure!(taken == Ok(5000), "the late read returned {taken:?}");
    Ok(())
}

fn take_fd(fd: OwnedFd) -> RawFd {
    std::os::fd::IntoRawFd::into_raw_fd(fd)
}

/// A pipe whose read end is closed during a `read`.
pub(crate) fn closed_in_a_read(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    closed_in_read(
        ledger,
        take_fd(read),
        libc::SYS_read,
        |fd| sys::read(fd, &mut [0; 5000]),
        sys::close,
    )
}

/// A pipe whose read end is replaced during a `read` by a file that can be read as well.
pub(crate) fn replaced_in_a_read(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    sys::dup2(write.as_raw_fd(), 1)?;
    let other = std::fs::File::open("/proc/self/exe")?;
    closed_in_read(
        ledger,
        take_fd(read),
        libc::SYS_read,
        |fd| sys::read(fd, &mut [0; 5000]),
        |fd| sys::dup2(other.as_raw_fd(), fd).map(drop),
    )
}

/// A socket that is closed by `close_range` during a `recvfrom`.
pub(crate) fn closed_in_a_receive(ledger: &mut Ledger) -> Result<()> {
    let far = socket_on_stdout(libc::SOCK_STREAM)?;
    let receive = |fd: RawFd| {
        let (mut buffer, null) = ([0_u8; 5000], ptr::null_mut::<c_void>());
        let (at, room) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the buffer is valid for its length during the call.
        sys::outcome(unsafe { libc::syscall(libc::SYS_recvfrom, fd, at, room, 0, null, null) })
    };
    closed_in_read(ledger, take_fd(far), libc::SYS_recvfrom, receive, |fd| sys::close_range(fd, fd))
}

/// Sends ten messages to a message queue on fd 1, and receives four of them.
pub(crate) fn message_queue(ledger: &mut Ledger) -> Result<()> {
    const SIZE: usize = 900;
    let name = CString::new(format!("/tracer-test-{}", std::process::id()))?;
    // SAFETY: all-zero is a valid `mq_attr`.
    let mut attributes: libc::mq_attr = unsafe { mem::zeroed() };
    (attributes.mq_maxmsg, attributes.mq_msgsize) = (10, 1000);
    let flags = libc::O_CREAT | libc::O_RDWR;
    // SAFETY: name and attributes are valid during the call.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
    if queue < 0 && sys::errno() == libc::ENOSYS {
        return Err(Unsupported("this kernel has no message queues".into()).into());
    }
    sys::check("mq_open", c_long::from(queue))?;
    sys::dup2(queue, 1)?;
    sys::close(queue)?;
    let (bytes, mut room) = ([b'q'; SIZE], [0_u8; 1000]);
    let null = ptr::null_mut::<c_void>();
    for _ in 0..10 {
        let (at, call) = (bytes.as_ptr(), libc::SYS_mq_timedsend);
        // SAFETY: the buffer is valid for its length during the call.
        let sent = sys::outcome(unsafe { libc::syscall(call, 1, at, SIZE, 0, null) });
        let sent = ledger.note(1, SIZE, sent.map(|_| SIZE));
        ensure!(sent == Ok(SIZE), "mq_timedsend returned {sent:?}");
    }
    for _ in 0..4 {
        let (at, call) = (room.as_mut_ptr(), libc::SYS_mq_timedreceive);
        // SAFETY: as above.
        let taken = sys::outcome(unsafe { libc::syscall(call, 1, at, room.len(), null, null) });
        ensure!(taken == Ok(SIZE), "mq_timedreceive returned {taken:?}");
    }
    // SAFETY: the name is valid during the call.
    sys::check("mq_unlink", c_long::from(unsafe { libc::mq_unlink(name.as_ptr()) })).map(drop)
}

/// Clones blocks of another file into the file on fd 1: all of it, a part, and all from an offset on.
pub(crate) fn clones(ledger: &mut Ledger) -> Result<()> {
    const BLOCK: u64 = 4096;
    /// `FICLONE` and `FICLONERANGE` (`include/uapi/linux/fs.h`).
    const FICLONE: libc::c_ulong = 0x4004_9409;
    const FICLONERANGE: libc::c_ulong = 0x4020_940d;
    let directory = std::env::args().nth(2).context("usage: clones DIRECTORY")?;
    let at = std::path::Path::new(&directory);
    let open = |name| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).open(at.join(name))
    };
    let (source, target) = (open("source")?, open("target")?);
    io::Write::write_all(&mut &source, &vec![b's'; 5 * BLOCK as usize])?;
    sys::dup2(target.as_raw_fd(), 1)?;
    let fd = source.as_raw_fd();
    // SAFETY: the argument is an fd.
    let cloned = sys::outcome(c_long::from(unsafe { libc::ioctl(1, FICLONE as _, fd) }));
    if let Err(libc::EOPNOTSUPP | libc::EXDEV | libc::ENOTTY | libc::EINVAL) = cloned {
        return Err(Unsupported(format!("FICLONE in {directory}: {cloned:?}")).into());
    }
    let _ = ledger.note(1, 5 * BLOCK as usize, cloned.map(|_| 5 * BLOCK as usize));
    for (from, length, to, bytes) in [(1, 2, 8, 2), (3, 0, 16, 2)] {
        let range = [fd as u64, from * BLOCK, length * BLOCK, to * BLOCK];
        // SAFETY: the argument is a `struct file_clone_range`, valid during the call.
        let cloned = c_long::from(unsafe { libc::ioctl(1, FICLONERANGE as _, range.as_ptr()) });
        let bytes = (bytes * BLOCK) as usize;
        let cloned = ledger.note(1, bytes, sys::outcome(cloned).map(|_| bytes));
        ensure!(cloned == Ok(bytes), "FICLONERANGE returned {cloned:?}");
    }
    Ok(())
}

/// A pty with the slave on fd 1; returns the master.
fn pty_on_stdout() -> Result<OwnedFd> {
    let (mut master, mut slave) = (0, 0);
    let (name, none) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: both numbers are valid for the call; the name, the attributes and the size are not requested.
    let made =
        unsafe { libc::openpty(&raw mut master, &raw mut slave, name, none, ptr::null_mut()) };
    sys::check("openpty", c_long::from(made))?;
    sys::dup2(slave, 1)?;
    sys::close(slave)?;
    // SAFETY: the call has just opened it for this function.
    sys::move_to_high_fd(unsafe { OwnedFd::from_raw_fd(master) })
}

/// Writes to a terminal, and discards that at the master: with `tcflush`, or while it sets attributes.
pub(crate) fn flushes(ledger: &mut Ledger) -> Result<()> {
    let by_attributes = std::env::args().nth(2).as_deref() == Some("attributes");
    let master = pty_on_stdout()?;
    ledger.write(1, 100)?;
    // The bytes reach the master's buffer in a kernel worker.
    thread::sleep(Duration::from_millis(200));
    let fd = master.as_raw_fd();
    // SAFETY: the attributes are read before they are set, and valid during both calls.
    let flushed = unsafe {
        if by_attributes {
            let mut attributes: libc::termios = mem::zeroed();
            libc::tcgetattr(fd, &raw mut attributes);
            libc::tcsetattr(fd, libc::TCSAFLUSH, &raw const attributes)
        } else {
            libc::tcflush(fd, libc::TCIFLUSH)
        }
    };
    sys::check("flush", c_long::from(flushed))?;
    // Both ends stay open until the process ends.
    mem::forget(master);
    Ok(())
}
