//! Whether the kernel calls what it let us attach.

use aya::sys::{Stats, enable_stats};

use crate::{Loader, LoaderError, hooks::HOOKS};

/// Each look is a system call, and one that has ended is enough. More of them only because programs on typed
/// tracepoints are now and then skipped from Linux 7.0 on.
const LOOKS: u32 = 100;

impl Loader {
    /// Makes sure that the program that counts bytes runs when a system call ends. A tracepoint that was switched on
    /// and stays silent has been seen under emulation (qemu 7.2), and then everybody would seem to write nothing.
    ///
    /// The kernel counts runs while somebody wants it to (`BPF_ENABLE_STATS`, Linux 5.8), which takes
    /// `CAP_SYS_ADMIN`; without that it is not known.
    ///
    /// # Errors
    /// [`LoaderError::Silent`].
    pub(crate) fn self_test(&self) -> Result<(), LoaderError> {
        let Ok(_counted) = enable_stats(Stats::RunTime) else { return Ok(()) };
        let name = HOOKS[0].place(self.mode).program;
        let program = self.bpf.program(name).ok_or(LoaderError::NoObject)?;
        if runs(|| Some(program.info().ok()?.run_count())) {
            Ok(())
        } else {
            Err(LoaderError::Silent)
        }
    }
}

/// Whether a count that this changes by being asked for is ever more than 0; true if it cannot be had.
fn runs(mut count: impl FnMut() -> Option<u64>) -> bool {
    (0..LOOKS).any(|_| count() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_is_enough_and_none_is_silence() {
        let mut looks = 0;
        let mut from = |first: u32| {
            looks = 0;
            runs(|| {
                looks += 1;
                Some(u64::from(looks > first))
            })
        };
        assert!(from(1) && from(LOOKS - 1));
        assert!(!from(LOOKS));
        assert!(runs(|| None));
    }
}
