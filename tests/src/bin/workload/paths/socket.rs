//! The sending calls; fd 1 and fd 2 are sockets.

use std::os::fd::RawFd;

use anyhow::{Result, ensure};

use super::plain::{piece, pieces};
use crate::{fresh, ledger::Ledger, sys};

/// `sendto(2)` without an address, which is what `send(3)` makes.
pub(crate) fn sendto(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = fresh::bytes(*size);
        ledger.transfer(fd, *size, |done, rest| {
            let bytes = bytes[done..].as_ptr();
            // SAFETY: the buffer is valid for `rest` bytes during the call; there is no address.
            sys::outcome(unsafe { libc::syscall(libc::SYS_sendto, fd, bytes, rest, 0, 0, 0) })
        })
    })
}

/// `sendmsg(2)` with three pieces.
pub(crate) fn sendmsg(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    sizes.iter().try_for_each(|size| {
        let bytes = fresh::bytes(*size);
        ledger.transfer(fd, *size, |done, _| {
            let mut pieces = pieces(&bytes[done..]);
            let message = message(&mut pieces);
            // SAFETY: header, table and pieces outlive the call.
            sys::outcome(unsafe { libc::syscall(libc::SYS_sendmsg, fd, &raw const message, 0) })
        })
    })
}

/// `sendmmsg(2)`: all sizes as the messages of one call. The call returns a number of messages;
/// the bytes are in each message's `msg_len`.
pub(crate) fn sendmmsg(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let mut tables: Vec<_> = sizes.iter().map(|size| [piece(fresh::bytes(*size))]).collect();
    let mut messages: Vec<_> = tables
        .iter_mut()
        .map(|table| libc::mmsghdr { msg_hdr: message(table), msg_len: 0 })
        .collect();
    let count = messages.len();
    // SAFETY: headers, tables and pieces outlive the call, which fills in each `msg_len`.
    let sent = sys::outcome(unsafe {
        libc::syscall(libc::SYS_sendmmsg, fd, messages.as_mut_ptr(), count, 0)
    });
    ensure!(sent == Ok(count), "sendmmsg sent {sent:?} of {count} messages");
    let taken: usize = messages.iter().map(|message| message.msg_len as usize).sum();
    let offered = sizes.iter().sum();
    ensure!(ledger.note(fd, offered, Ok(taken)) == Ok(offered), "sendmmsg cut a message");
    Ok(())
}

/// A message of these pieces, with no address and no control data.
pub(crate) fn message(pieces: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all-zero is a valid `msghdr`: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len();
    message
}
