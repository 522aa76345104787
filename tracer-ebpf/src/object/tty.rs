//! The state of a terminal, and the two halves of a pseudo-terminal.

use tracer_common::{
    limits,
    object::{ObjectId, PTY_MASTER_MAJOR, PTY_SLAVE_MAJOR, TtyState, mode},
    offsets::MISSING,
};

use super::{Inode, UNKNOWN_FILE, queue::UNREADABLE};
use crate::kernel::{
    constants::{
        DENTRY_INODE, FILE_PRIVATE, INODE_INO, INODE_RDEV, INODE_SB, LDISC_NUM, LDISC_OPS,
        N_TTY_HEAD, N_TTY_TAIL, PORT_BUFFERS, SB_DEV, TTY_BUFFER_NEXT, TTY_BUFFER_READ,
        TTY_BUFFER_USED, TTY_DISC_DATA, TTY_DRIVER, TTY_DRIVER_DATA, TTY_DRIVER_MAJOR,
        TTY_FILE_FILE, TTY_FILE_LIST, TTY_FILE_TTY, TTY_FILES, TTY_INDEX, TTY_LDISC, TTY_LINK,
        TTY_PORT,
    },
    kread::Kptr,
};

/// Whether a character device with this number is a terminal (`devices.txt`): consoles and serial
/// lines, `/dev/tty`, `/dev/ptmx`, and both halves of Unix98 ptys.
#[inline(always)]
pub(super) fn is_tty(rdev: u32) -> bool {
    matches!(rdev >> 20, 4 | 5 | 128..=143 | 188 | 204 | 229)
}

/// Whether a character device with this number is a Unix98 pty's slave.
#[inline(always)]
pub(super) fn is_pty_slave(rdev: u32) -> bool {
    rdev >> 20 >> 3 == PTY_SLAVE_MAJOR >> 3
}

/// The state of the terminal of an open file; `valid` is 0 for anything else.
#[inline(always)]
pub(super) fn state(file: Kptr, inode: &Inode) -> TtyState {
    read(file, inode).unwrap_or_default()
}

#[inline(always)]
fn read(file: Kptr, inode: &Inode) -> Option<TtyState> {
    let tty = tty_of(file, inode)?;
    Some(TtyState {
        index: tty.member(&TTY_INDEX)?,
        major: tty.follow(&TTY_DRIVER)?.member(&TTY_DRIVER_MAJOR)?,
        valid: 1,
        zero: 0,
    })
}

/// `file->private_data->tty` (`struct tty_file_private`, `include/linux/tty.h`).
#[inline(always)]
fn tty_of(file: Kptr, inode: &Inode) -> Option<Kptr> {
    if inode.mode & mode::S_IFMT != mode::S_IFCHR || !is_tty(inode.rdev) {
        return None;
    }
    file.follow(&FILE_PRIVATE)?.follow(&TTY_FILE_TTY)
}

/// Identity of the terminal behind an inode that many terminals share: `/dev/tty`, `/dev/ptmx`, `/dev/console`. Both
/// halves of a pty get a number ([`super::files`]); its slave is the inode of its `/dev/pts/N`.
#[inline(always)]
pub(super) fn identity(file: Kptr, inode: &Inode, dev: u32) -> ObjectId {
    let shared = |discriminator| ObjectId { ino: inode.ino, dev, discriminator };
    let Some(tty) = tty_of(file, inode) else { return shared(1) };
    let major = major_of(tty);
    if is_master(major) {
        return shared(UNKNOWN_FILE);
    }
    if let Some(name) = name_of(tty)
        && let Some(dev) = device_of(name)
        && let Some(ino) = name.member(&INODE_INO)
    {
        return ObjectId { ino, dev, discriminator: UNKNOWN_FILE };
    }
    let index = tty.member::<u32, _>(&TTY_INDEX).unwrap_or(0) + 1;
    shared(index ^ major << 20)
}

/// The pty of which this file of a character device is a half: the inode of its slave, and the `struct file` of its
/// master, 0 if that is closed. `None` for anything else.
#[inline(always)]
pub(super) fn pair(file: Kptr, inode: Kptr) -> Option<(Kptr, u64)> {
    let rdev: u32 = inode.member(&INODE_RDEV)?;
    if !is_tty(rdev) {
        return None;
    }
    let tty = file.follow(&FILE_PRIVATE)?.follow(&TTY_FILE_TTY)?;
    if is_master(major_of(tty)) {
        return Some((name_of(tty.follow(&TTY_LINK)?)?, file.0));
    }
    let slave = if is_pty_slave(rdev) { inode } else { name_of(tty)? };
    let master = tty.follow(&TTY_LINK).and_then(first_file);
    Some((slave, master.map_or(0, |master| master.0)))
}

/// Major number of a terminal's driver; 0 if it cannot be read.
#[inline(always)]
fn major_of(tty: Kptr) -> u32 {
    tty.follow(&TTY_DRIVER).and_then(|driver| driver.member(&TTY_DRIVER_MAJOR)).unwrap_or(0)
}

/// Whether this is the major number of the masters of Unix98 ptys.
#[inline(always)]
const fn is_master(major: u32) -> bool {
    major >> 3 == PTY_MASTER_MAJOR >> 3
}

/// The inode of `/dev/pts/N`, of a pty's slave: `driver_data` is its dentry (`ptmx_open`, drivers/tty/pty.c).
#[inline(always)]
fn name_of(tty: Kptr) -> Option<Kptr> {
    if major_of(tty) >> 3 != PTY_SLAVE_MAJOR >> 3 {
        return None;
    }
    let inode = tty.follow(&TTY_DRIVER_DATA)?.follow(&DENTRY_INODE)?;
    // After the master was closed, the dentry may be freed.
    is_pty_slave(inode.member(&INODE_RDEV)?).then_some(inode)
}

#[inline(always)]
fn device_of(inode: Kptr) -> Option<u32> {
    inode.follow(&INODE_SB)?.member(&SB_DEV)
}

/// The inode of the terminal of an open file, if that is another one than the file's own: for a pty's slave that
/// was opened as `/dev/tty`.
#[inline(always)]
pub(super) fn inode_behind(file: Kptr, inode: &Inode) -> Option<Kptr> {
    name_of(tty_of(file, inode)?)
}

/// The first open file of the other half of the pty (`tty->link->tty_files`).
#[inline(always)]
pub(super) fn other_half(file: Kptr, inode: &Inode) -> Option<Kptr> {
    first_file(tty_of(file, inode)?.follow(&TTY_LINK)?)
}

/// The first open file of a terminal.
#[inline(always)]
fn first_file(tty: Kptr) -> Option<Kptr> {
    let files = tty.at(&TTY_FILES);
    let first: u64 = files.read()?;
    if first == files.0 {
        return None;
    }
    Kptr(first.wrapping_sub(TTY_FILE_LIST.load())).follow(&TTY_FILE_FILE)
}

/// The line discipline that all terminals begin with (include/uapi/linux/tty.h).
const N_TTY: u32 = 0;

/// Bytes that a reader of this terminal (`struct tty_file_private`) finds, or a reader of the other half of the pty.
#[inline(always)]
pub(super) fn unread(private: Kptr, is_incoming: bool) -> Option<u64> {
    // The kernel has the parts in one file each, so it has all of them or a part of them.
    if PORT_BUFFERS.load() == MISSING || N_TTY_TAIL.load() == MISSING || LDISC_NUM.load() == MISSING
    {
        return None;
    }
    let tty = private.follow(&TTY_FILE_TTY)?;
    let tty = if is_incoming { tty } else { tty.follow(&TTY_LINK)? };
    // A half without an open file is closed or about to be: the kernel drops what is inside step by step.
    first_file(tty)?;
    if tty.follow(&TTY_LDISC)?.follow(&LDISC_OPS)?.member::<u32, _>(&LDISC_NUM)? != N_TTY {
        return None;
    }
    let discipline = tty.follow(&TTY_DISC_DATA)?;
    let buffered = || {
        let head: u64 = discipline.member(&N_TTY_HEAD)?;
        Some(head.wrapping_sub(discipline.member(&N_TTY_TAIL)?))
    };
    let before = buffered()?;
    let port = tty.follow(&TTY_PORT)?;
    let first = port.follow(&PORT_BUFFERS)?.0;
    let flipped = flip_bytes(first);
    // A kernel thread moves bytes from the flip buffers to the line discipline: they count once. It frees a buffer after
    // it has made the next one the first.
    let is_still = buffered()? == before && port.follow(&PORT_BUFFERS)?.0 == first;
    (flipped != UNREADABLE && is_still).then_some(flipped + before)
}

/// Bytes in a list of flip buffers (`struct tty_buffer`, drivers/tty/tty_buffer.c). Exported, so that the verifier
/// checks its loop once. Therefore it takes an integer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flip_bytes(first: u64) -> u64 {
    let mut sum = 0;
    let mut buffer = Kptr(first);
    for _ in 0..limits::TTY_BUFFERS {
        let (used, read) = (buffer.member(&TTY_BUFFER_USED), buffer.member(&TTY_BUFFER_READ));
        let (Some(used), Some(read)): (Option<u32>, Option<u32>) = (used, read) else {
            return UNREADABLE;
        };
        sum += u64::from(used.wrapping_sub(read));
        let Some(next) = buffer.member::<u64, _>(&TTY_BUFFER_NEXT) else { return UNREADABLE };
        if next == 0 {
            return sum;
        }
        buffer = Kptr(next);
    }
    UNREADABLE
}
