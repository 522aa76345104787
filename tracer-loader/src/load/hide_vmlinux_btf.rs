//! A thread that finds no file by its path.
//!
//! aya's loader reads all types of the kernel when it is made, for relocations of a kind that Rust programs do not
//! have, and that is a tenth of the time until a trace begins. It goes on without where it does not find them.

use rustix::{
    process::chroot,
    thread::{UnshareFlags, unshare_unsafe},
};

/// A directory that is always there and has no other below it.
const EMPTY: &str = "/proc/self/fdinfo";

/// From now on this thread finds nothing below `/`. Where that is not allowed all stays as it is.
pub(crate) fn from_this_thread() {
    // SAFETY: fds stay shared; only the root and the working directory become this thread's own.
    let is_own = unsafe { unshare_unsafe(UnshareFlags::FS) }.is_ok();
    if is_own {
        // Refused without CAP_SYS_CHROOT, which costs time only.
        let _ = chroot(EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::thread::{CapabilitySet, capabilities};

    use super::*;

    #[test]
    fn only_the_thread_that_asks_sees_nothing() {
        let is_there = || Path::new("/proc/self").exists();
        let seen = std::thread::spawn(move || {
            from_this_thread();
            is_there()
        });
        // Not everybody who runs the tests may do it.
        let mine = capabilities(None).unwrap().effective;
        let may = mine.contains(CapabilitySet::SYS_CHROOT);
        assert_eq!(seen.join().unwrap(), !may);
        assert!(is_there());
    }
}
