//! How a process comes to the fd it writes through; applicable to every path.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tracer_tests::paths::Identity;

use crate::{
    ledger::Ledger,
    paths::PathFn,
    process::{self, Image},
    sys,
};

/// What goes to fd 1: below, at and above a page and a pipe's capacity.
const OUT: [usize; 7] = [1, 13, 512, 4096, 4097, 65536, 100_003];

/// What goes to fd 2: different in number, sizes and sum, so that mixing them up shows.
const ERR: [usize; 3] = [7, 300, 9001];

/// What the other of two processes writes to fd 1.
const ASIDE: [usize; 2] = [5, 777];

/// Writes [`OUT`] and [`ERR`] through one path with one kind of fd.
pub(crate) fn write(
    ledger: &mut Ledger,
    name: &str,
    path: PathFn,
    identity: Identity,
) -> Result<()> {
    match identity {
        Identity::Direct => both(ledger, path, 1, 2),
        Identity::Dup => {
            let (out, err) = (sys::dup(1)?, sys::dup(2)?);
            both(ledger, path, out, err)
        }
        Identity::Dup2 => {
            let (out, err) = (sys::dup2(1, 7)?, sys::dup2(2, 8)?);
            both(ledger, path, out, err)
        }
        Identity::Fork => {
            path(ledger, 1, &ASIDE)?;
            let child = process::fork(ledger, |own| both(own, path, 1, 2))?;
            process::wait_success(child)
        }
        Identity::Exec => {
            path(ledger, 1, &ASIDE)?;
            ledger.publish()?;
            Err(Image::of_self(&[name, Identity::Direct.word()])?.exec())
        }
        Identity::Scm => over_a_socket(ledger, path),
    }
}

fn both(ledger: &mut Ledger, path: PathFn, out: RawFd, err: RawFd) -> Result<()> {
    let (first, last) = OUT.split_at(OUT.len() / 2);
    path(ledger, out, first)?;
    path(ledger, err, &ERR)?;
    path(ledger, out, last)
}

/// A child gives up its own fd 1 and fd 2 and writes through the numbers it was sent.
fn over_a_socket(ledger: &mut Ledger, path: PathFn) -> Result<()> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let child = process::fork(ledger, |own| {
        let [out, err] = receive(far.as_fd())?;
        give_up(1)?;
        give_up(2)?;
        both(own, path, out, err)
    })?;
    // SAFETY: fd 1 and fd 2 stay open for as long as the parent runs.
    let own = unsafe { [BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)] };
    send(near.as_fd(), &own)?;
    // Not at the same time: the copying calls do not lock a file's position for each other.
    process::wait_success(child)?;
    path(ledger, 1, &ASIDE)
}

/// Closes a number and keeps it taken by something that cannot be written: otherwise a file that
/// a path opens for itself would be fd 1 for a moment, and its bytes would count.
fn give_up(fd: RawFd) -> Result<()> {
    let placeholder =
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    sys::dup2(placeholder.as_raw_fd(), fd).map(drop)
}

fn send(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    ensure!(control.push(SendAncillaryMessage::ScmRights(fds)), "no space for two fds");
    sendmsg(socket, &[IoSlice::new(b"f")], &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>) -> Result<[RawFd; 2]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut data, &mut control, RecvFlags::empty())?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received.map(OwnedFd::into_raw_fd));
        }
    }
    fds.try_into().ok().context("two fds were sent, another number arrived")
}
