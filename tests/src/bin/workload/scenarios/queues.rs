//! A queue that holds bytes before it is watched, and of which a reader reads a part.

use std::{
    env,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::{ledger::Ledger, process, sys};

/// The ends of the queue: fds of no interest, with bits of their own in the kernel side's bitmap of read ends.
const READER: RawFd = 20;
const WRITER: RawFd = 21;
/// Size of each write and read, but for the first writes of a byte stream: there a read ends within a write.
const PACKET: usize = 100;
const LONG: usize = 250;
/// Size of a read that is shorter than a packet.
const SHORT: usize = 60;
/// Bytes that are written before the queue is watched. No newline is among them for a terminal to change.
const BEFORE: usize = 1_000;

/// Writes 1,000 bytes before the queue is watched, five packets more from a child with the queue as its stdout, and reads seven.
/// Words of the command line: the kind of the queue, and which end is closed first.
pub(crate) fn partly_read(ledger: &mut Ledger) -> Result<()> {
    let mut words = env::args().skip(2);
    let (kind, order) = (words.next().context("no kind")?, words.next().context("no order")?);
    let (reader, writer) = pair(&kind)?;
    sys::dup3_cloexec(reader.as_raw_fd(), READER)?;
    sys::dup3_cloexec(writer.as_raw_fd(), WRITER)?;
    drop((reader, writer));
    let is_packets = matches!(kind.as_str(), "seqpacket" | "datagram" | "packet-pipe");
    let size = if is_packets { PACKET } else { LONG };
    for _ in 0..BEFORE / size {
        let sent = sys::write(WRITER, &[b'b'; LONG][..size]);
        ensure!(sent == Ok(size), "{sent:?}");
    }
    let (written, has_written) = sys::pipe()?;
    let (may_end, ends) = sys::pipe()?;
    let ends_of_parent = [written.as_raw_fd(), ends.as_raw_fd()];
    let child = process::fork(ledger, |own| {
        ends_of_parent.into_iter().try_for_each(sys::close)?;
        sys::close(READER)?;
        sys::dup2(WRITER, 1)?;
        sys::close(WRITER)?;
        for _ in 0..5 {
            own.write(1, PACKET)?;
        }
        sys::close(has_written.as_raw_fd())?;
        await_end(may_end.as_raw_fd())
    })?;
    drop((has_written, may_end));
    sys::close(WRITER)?;
    await_end(written.as_raw_fd())?;
    match order.as_str() {
        "writer-first" => {
            read_packets(PACKET)?;
            drop(ends);
            process::wait_success(child)?;
            sys::close(READER)
        }
        // Each read discards the rest of its packet.
        "short-reads" => {
            read_packets(SHORT)?;
            drop(ends);
            process::wait_success(child)?;
            sys::close(READER)
        }
        "reader-first" => {
            read_packets(PACKET)?;
            sys::close(READER)?;
            drop(ends);
            process::wait_success(child)
        }
        // The writer is gone before the read. The process ends with its read end open.
        "by-exit" => {
            drop(ends);
            process::wait_success(child)?;
            read_packets(PACKET)
        }
        other => bail!("unknown order {other}"),
    }
}

/// A TCP connection on stdin, of which a part is read. Its other end is the process's own, on an fd of no interest.
pub(crate) fn partly_read_connection(_: &mut Ledger) -> Result<()> {
    let (reader, writer) = pair("tcp")?;
    sys::dup3_cloexec(writer.as_raw_fd(), WRITER)?;
    sys::dup2(reader.as_raw_fd(), 0)?;
    drop(reader);
    for _ in 0..6 {
        let sent = sys::write(writer.as_raw_fd(), &[b'c'; LONG]);
        ensure!(sent == Ok(LONG), "{sent:?}");
    }
    while rustix::io::ioctl_fionread(rustix::stdio::stdin())? < 6 * LONG as u64 {
        std::thread::yield_now();
    }
    for _ in 0..7 {
        let received = sys::read(0, &mut [0; PACKET]);
        ensure!(received == Ok(PACKET), "{received:?}");
    }
    Ok(())
}

/// Reads `size` bytes from each of seven packets.
fn read_packets(size: usize) -> Result<()> {
    for _ in 0..7 {
        let received = sys::read(READER, &mut vec![0; size]);
        ensure!(received == Ok(size), "{received:?}");
    }
    Ok(())
}

/// Waits until the other end of a pipe is closed.
fn await_end(fd: RawFd) -> Result<()> {
    let end = sys::read(fd, &mut [0]);
    ensure!(end == Ok(0), "{end:?}");
    Ok(())
}

/// The read end and the write end of a queue.
fn pair(kind: &str) -> Result<(OwnedFd, OwnedFd)> {
    let unix = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    Ok(match kind {
        "pipe" => pipe_with(PipeFlags::CLOEXEC)?,
        "packet-pipe" => pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT)?,
        "stream" => unix(SocketType::STREAM)?,
        "seqpacket" => unix(SocketType::SEQPACKET)?,
        "datagram" => unix(SocketType::DGRAM)?,
        "tcp" => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let writer = TcpStream::connect(listener.local_addr()?)?;
            (listener.accept()?.0.into(), writer.into())
        }
        "pty" => {
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            let path = ptsname(&master, Vec::new())?;
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
            let slave = rustix::fs::open(path.as_c_str(), flags, rustix::fs::Mode::empty())?;
            (master, slave)
        }
        other => bail!("unknown kind {other}"),
    })
}
