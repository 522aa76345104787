//! The table of open fds of a guest process.

use std::collections::BTreeMap;

use crate::objects::Number;

/// Most fds that are known of one process.
const MOST: usize = 4096;
/// `O_ACCMODE` (`fcntl(2)`).
const ACCESS: u32 = libc::O_ACCMODE as u32;

/// An open fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fd {
    pub(crate) object: Number,
    /// `O_*` of the open file, as far as known.
    pub(crate) flags: u32,
    /// Whether `execve` closes it.
    pub(crate) closes_on_exec: bool,
}

impl Fd {
    /// Whether bytes can be read through it.
    pub(crate) const fn reads(&self) -> bool {
        self.flags & ACCESS != libc::O_WRONLY as u32
    }
}

/// Open fds by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fds(BTreeMap<i32, Fd>);

impl Fds {
    pub(crate) fn get(&self, fd: i32) -> Option<Fd> {
        self.0.get(&fd).copied()
    }

    /// Sets what an fd leads to. Returns what it led to before.
    pub(crate) fn set(&mut self, fd: i32, to: Fd) -> Option<Fd> {
        if self.0.len() >= MOST && !self.0.contains_key(&fd) {
            // A call on it tells its object; only its close is not seen.
            return None;
        }
        self.0.insert(fd, to)
    }

    pub(crate) fn close(&mut self, fd: i32) -> Option<Fd> {
        self.0.remove(&fd)
    }

    /// Removes those for which `ends` holds.
    pub(crate) fn close_if(&mut self, ends: impl Fn(i32, &Fd) -> bool) -> Vec<(i32, Fd)> {
        let closed: Vec<_> = self.iter().filter(|(number, fd)| ends(*number, fd)).collect();
        for (number, _) in &closed {
            self.0.remove(number);
        }
        closed
    }

    /// Notes the object that a call found behind an fd.
    pub(crate) fn found(&mut self, fd: i32, object: Number, flags: u32) {
        if let Some(known) = self.0.get_mut(&fd) {
            known.object = object;
        } else {
            self.set(fd, Fd { object, flags, closes_on_exec: false });
        }
    }

    /// Marks the fds of an object as non-blocking: they were duplicated from one open file, most likely.
    pub(crate) fn set_nonblocking(&mut self, fd: i32) {
        let Some(changed) = self.get(fd) else { return };
        for known in self.0.values_mut() {
            if known.object == changed.object && known.reads() == changed.reads() {
                known.flags |= libc::O_NONBLOCK as u32;
            }
        }
    }

    pub(crate) fn set_closes_on_exec(&mut self, fd: i32, closes: bool) {
        if let Some(known) = self.0.get_mut(&fd) {
            known.closes_on_exec = closes;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, Fd)> {
        self.0.iter().map(|(number, fd)| (*number, *fd))
    }
}
