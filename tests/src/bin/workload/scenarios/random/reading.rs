//! Reads from an object by one of several calls.

use std::{ffi::c_long, os::fd::RawFd, ptr::null_mut};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use io_uring::{IoUring, opcode, types};

use super::{
    channel::{Channel, Kind},
    widths::wide,
};
use crate::{
    paths::{segment, segments},
    sys::{self, Outcome},
};

/// Reads by one random call.
pub(super) fn some(channel: &mut Channel, random: &mut Rng, rings: bool) -> Result<()> {
    let total: usize = channel.inside().iter().sum();
    if total == 0 {
        return Ok(());
    }
    let is_packet = channel.kind() == Kind::Seqpacket;
    // A part of a message would drop its rest.
    let size = if is_packet { channel.inside()[0] } else { random.usize(1..=total) };
    let way = random.u32(..if is_socket(channel.kind()) { 9 } else { 4 });
    let by_ring = [2, 3, 8].contains(&way);
    let rings = rings && channel.kind() != Kind::Terminal;
    take(channel, size, if by_ring && !rings { 0 } else { way }, random)
}

/// Reads everything.
pub(super) fn all(channel: &mut Channel) -> Result<()> {
    while let Some(first) = channel.inside().first().copied() {
        take(channel, first, 0, &mut Rng::with_seed(0))?;
    }
    Ok(())
}

const fn is_socket(kind: Kind) -> bool {
    matches!(kind, Kind::Stream | Kind::Seqpacket | Kind::Tcp)
}

fn take(channel: &mut Channel, size: usize, way: u32, random: &mut Rng) -> Result<()> {
    let fd = channel.reader().context("it has no reading end")?;
    let taken = by(way, fd, &mut vec![0; size], random);
    let taken = taken.map_err(std::io::Error::from_raw_os_error);
    let taken = taken.with_context(|| format!("way {way} of reading {size} B from {channel:?}"))?;
    ensure!(taken > 0 && taken <= size, "{taken} of {size} B were read from {channel:?}");
    let mut left = channel.inside().to_vec();
    let mut rest = taken;
    while rest > 0 {
        let part = rest.min(left[0]);
        (left[0], rest) = (left[0] - part, rest - part);
        if left[0] == 0 {
            left.remove(0);
        }
    }
    channel.took(taken, left);
    Ok(())
}

fn by(way: u32, fd: RawFd, bytes: &mut [u8], random: &mut Rng) -> Outcome {
    let (start, size) = (bytes.as_mut_ptr(), bytes.len());
    let mut receive = |flags: i32| {
        let (fd, flags) = (wide(fd, random), wide(flags, random));
        // SAFETY: the buffer is valid for its length; no address is asked for.
        sys::outcome(unsafe {
            libc::syscall(libc::SYS_recvfrom, fd, start, size, flags, null_mut::<u8>(), 0)
        })
    };
    match way {
        1 => {
            let parts = segments(bytes);
            // SAFETY: each part is in the buffer.
            sys::outcome(unsafe { libc::syscall(libc::SYS_readv, fd, parts.as_ptr(), 3) })
        }
        2 => by_ring(&opcode::Read::new(types::Fd(fd), start, size as u32).build()),
        3 => {
            let parts = [segment(bytes)];
            by_ring(&opcode::Readv::new(types::Fd(fd), parts.as_ptr(), 1).build())
        }
        4 => receive(0),
        5 => {
            let seen = receive(libc::MSG_PEEK)?;
            let taken = receive(0)?;
            if taken < seen { Err(libc::EPROTO) } else { Ok(taken) }
        }
        6 => {
            let (mut parts, mut header) = ([segment(bytes)], message());
            (header.msg_iov, header.msg_iovlen) = (parts.as_mut_ptr(), 1);
            // SAFETY: header and buffer are valid for the call.
            unsafe { libc::syscall(libc::SYS_recvmsg, fd, &raw mut header, libc::MSG_PEEK) };
            // SAFETY: as above.
            sys::outcome(unsafe { libc::syscall(libc::SYS_recvmsg, fd, &raw mut header, 0) })
        }
        7 => {
            let mut parts = [segment(bytes)];
            let mut one = libc::mmsghdr { msg_hdr: message(), msg_len: 0 };
            (one.msg_hdr.msg_iov, one.msg_hdr.msg_iovlen) = (parts.as_mut_ptr(), 1);
            // SAFETY: header and buffer are valid for the call.
            let count = unsafe {
                libc::syscall(libc::SYS_recvmmsg, fd, &raw mut one, 1, 0, null_mut::<u8>())
            };
            sys::outcome(count as c_long).map(|_| one.msg_len as usize)
        }
        8 => by_ring(&opcode::Recv::new(types::Fd(fd), start, size as u32).build()),
        _ => sys::read(fd, bytes),
    }
}

fn message() -> libc::msghdr {
    // SAFETY: all-zero is a valid value: null pointers with zero lengths.
    unsafe { std::mem::zeroed() }
}

/// One request to a ring; by `read` where the kernel has none.
fn by_ring(request: &io_uring::squeue::Entry) -> Outcome {
    let Ok(mut ring) = IoUring::new(2) else { return Err(libc::ENOSYS) };
    // SAFETY: the caller keeps the buffers alive until the request has completed below.
    unsafe { ring.submission().push(request) }.map_err(|_| libc::EBUSY)?;
    ring.submit_and_wait(1).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let result = ring.completion().next().ok_or(libc::EIO)?.result();
    if result < 0 { Err(-result) } else { Ok(result as usize) }
}
