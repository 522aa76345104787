//! Calls that send to a socket.

use std::os::fd::RawFd;

use anyhow::{Result, ensure};
use tracer_tests::content;

use super::plain::{segment, segments};
use crate::{ledger::Ledger, sys};

/// `sendto(2)` without an address, as `send(3)` calls it.
pub(crate) fn sendto(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        ledger.transfer(fd, *size, |done, rest| {
            let bytes = bytes[done..].as_ptr();
            // SAFETY: the buffer is valid for `rest` bytes during the call; there is no address.
            sys::outcome(unsafe { libc::syscall(libc::SYS_sendto, fd, bytes, rest, 0, 0, 0) })
        })
    })
}

/// `sendmsg(2)` with three segments.
pub(crate) fn sendmsg(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = content::fresh(*size);
        ledger.transfer(fd, *size, |done, _| {
            let mut segments = segments(&bytes[done..]);
            let message = message(&mut segments);
            // SAFETY: header, table and segments outlive the call.
            sys::outcome(unsafe { libc::syscall(libc::SYS_sendmsg, fd, &raw const message, 0) })
        })
    })
}

/// `sendmmsg(2)` with one message per size. The call returns the number of messages; the number of
/// bytes is in each message's `msg_len`.
pub(crate) fn sendmmsg(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut tables: Vec<_> = sizes.iter().map(|size| [segment(content::fresh(*size))]).collect();
    let mut messages: Vec<_> = tables
        .iter_mut()
        .map(|table| libc::mmsghdr { msg_hdr: message(table), msg_len: 0 })
        .collect();
    let count = messages.len();
    // SAFETY: headers, tables and segments outlive the call, which sets each `msg_len`.
    let sent = sys::outcome(unsafe {
        libc::syscall(libc::SYS_sendmmsg, fd, messages.as_mut_ptr(), count, 0)
    });
    ensure!(sent == Ok(count), "sendmmsg sent {sent:?} of {count} messages");
    let written: usize = messages.iter().map(|message| message.msg_len as usize).sum();
    let requested = sizes.iter().sum();
    ensure!(ledger.note(fd, requested, Ok(written)) == Ok(requested), "sendmmsg cut a message");
    Ok(())
}

/// A message of these segments, without an address and control data.
pub(crate) fn message(segments: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is valid: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = segments.as_mut_ptr();
    message.msg_iovlen = segments.len();
    message
}
