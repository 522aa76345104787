//! The state of a terminal, and the two halves of a pseudo-terminal.

use tracer_common::{
    limits,
    object::{PTY_SLAVE_MAJOR, TtyState, mode},
    offsets::MISSING,
};

use super::{Inode, queue::UNREADABLE};
use crate::{
    constants::{
        FILE_PRIVATE, LDISC_NUM, LDISC_OPS, N_TTY_HEAD, N_TTY_TAIL, PORT_BUFFERS, TTY_BUFFER_NEXT,
        TTY_BUFFER_READ, TTY_BUFFER_USED, TTY_DISC_DATA, TTY_DRIVER, TTY_DRIVER_MAJOR,
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

/// The first open file of the other half of the pty (`tty->link->tty_files`).
#[inline(always)]
pub(super) fn other_half(file: Kptr, inode: &Inode) -> Option<Kptr> {
    let files = tty_of(file, inode)?.follow(&TTY_LINK)?.at(&TTY_FILES);
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
    if tty.follow(&TTY_LDISC)?.follow(&LDISC_OPS)?.member::<u32, _>(&LDISC_NUM)? != N_TTY {
        return None;
    }
    let discipline = tty.follow(&TTY_DISC_DATA)?;
    let buffered = || {
        let head: u64 = discipline.member(&N_TTY_HEAD)?;
        Some(head.wrapping_sub(discipline.member(&N_TTY_TAIL)?))
    };
    let before = buffered()?;
    let flipped = flip_bytes(tty.follow(&TTY_PORT)?.follow(&PORT_BUFFERS)?.0);
    // A kernel thread moves bytes from the flip buffers to the line discipline: they count once.
    (flipped != UNREADABLE && buffered()? == before).then_some(flipped + before)
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
