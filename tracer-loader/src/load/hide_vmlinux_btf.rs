//! Hides sysfs so that aya does not parse vmlinux's BTF.
//!
//! aya's loader parses all types of the kernel when it is created, for relocations that Rust programs do not have.
//! That is a tenth of the time until a trace begins. The loader works without the types if it does not find the file.

use rustix::{
    process::chroot,
    thread::{UnshareFlags, unshare_unsafe},
};

/// A directory that always exists and has no subdirectory.
const EMPTY: &str = "/proc/self/fdinfo";

/// Makes [`EMPTY`] the root directory of this thread. Changes nothing if the thread may not do that.
pub(crate) fn from_this_thread() {
    // SAFETY: file descriptors stay shared. Only the root and the working directory become this thread's own.
    let is_own = unsafe { unshare_unsafe(UnshareFlags::FS) }.is_ok();
    if is_own {
        // Fails without CAP_SYS_CHROOT. That costs only time.
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
        // Tests may run without the capability.
        let mine = capabilities(None).unwrap().effective;
        let may = mine.contains(CapabilitySet::SYS_CHROOT);
        assert_eq!(seen.join().unwrap(), !may);
        assert!(is_there());
    }
}
