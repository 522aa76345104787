//! Writes through fds that a process obtained in different ways; works with every path.

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

/// Sizes of the writes to fd 1: below, at and above the sizes of a page and of a pipe.
const OUT: [usize; 7] = [1, 13, 512, 4096, 4097, 65536, 100_003];

/// Sizes of the writes to fd 2. Number, sizes and sum differ from [`OUT`], so that a mix-up shows.
const ERR: [usize; 3] = [7, 300, 9001];

/// Sizes of the writes to fd 1 by the second process, where there are two.
const SECOND: [usize; 2] = [5, 777];

/// Writes [`OUT`] and [`ERR`] by one path and identity.
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
            path(ledger, 1, &SECOND)?;
            let child = process::fork(ledger, |own| both(own, path, 1, 2))?;
            process::wait_success(child)
        }
        Identity::Exec => {
            path(ledger, 1, &SECOND)?;
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

/// A child closes its fd 1 and fd 2 and writes through the fds that it receives.
fn over_a_socket(ledger: &mut Ledger, path: PathFn) -> Result<()> {
    let (socket, peer) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let child = process::fork(ledger, |own| {
        let [out, err] = receive(peer.as_fd())?;
        block_fd(1)?;
        block_fd(2)?;
        both(own, path, out, err)
    })?;
    // SAFETY: fd 1 and fd 2 stay open for as long as the parent runs.
    let own = unsafe { [BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)] };
    send(socket.as_fd(), &own)?;
    // Not concurrently: calls like `copy_file_range` do not lock the file position.
    process::wait_success(child)?;
    path(ledger, 1, &SECOND)
}

/// Replaces an fd by one that cannot be written. If it were only closed, a file that a path opens
/// could get this fd number, and tracer would count its bytes.
fn block_fd(fd: RawFd) -> Result<()> {
    let placeholder =
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    sys::dup2(placeholder.as_raw_fd(), fd).map(drop)
}

/// Hands two fds over.
pub(crate) fn send(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    ensure!(control.push(SendAncillaryMessage::ScmRights(fds)), "no space for two fds");
    sendmsg(socket, &[IoSlice::new(b"f")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// The two fds that another process hands over.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<[RawFd; 2]> {
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
    fds.try_into().ok().context("did not receive two fds")
}
