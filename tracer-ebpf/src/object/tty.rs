//! The state of a terminal, and the two halves of a pseudo-terminal.

use tracer_common::object::{PTY_SLAVE_MAJOR, TtyState, mode};

use super::Inode;
use crate::{
    constants::{
        FILE_PRIVATE, TTY_DRIVER, TTY_DRIVER_MAJOR, TTY_FILE_FILE, TTY_FILE_LIST, TTY_FILE_TTY,
        TTY_FILES, TTY_INDEX, TTY_LINK,
    },
    kread::Kptr,
};

/// Whether a character device with this number is a terminal (`devices.txt`): consoles and serial
/// lines, `/dev/tty`, `/dev/ptmx`, and both halves of Unix98 ptys.
#[inline(always)]
fn is_tty(rdev: u32) -> bool {
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
