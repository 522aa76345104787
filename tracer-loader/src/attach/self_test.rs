//! Checks that the kernel calls the program that it let tracer attach.

use aya::sys::{Stats, enable_stats};

use crate::{Loader, LoaderError, hooks::HOOKS};

/// How often the run count is read. Each read is a system call, and one counted call is enough. There are more
/// because from Linux 7.0 on the kernel may skip a program on a typed tracepoint.
const TRIES: u32 = 100;

impl Loader {
    /// Checks that the program that counts bytes runs when a system call ends. Under emulation (qemu 7.2) an attached
    /// tracepoint sometimes stays silent, and all processes would seem to write nothing.
    ///
    /// The kernel counts runs while `BPF_ENABLE_STATS` (Linux 5.8) is on, which takes `CAP_SYS_ADMIN`. Without that
    /// capability the check passes.
    ///
    /// # Errors
    /// [`LoaderError::Silent`].
    pub(crate) fn self_test(&self) -> Result<(), LoaderError> {
        let Ok(_counted) = enable_stats(Stats::RunTime) else { return Ok(()) };
        let name = HOOKS[0].attachment(self.mode).program;
        let program = self.bpf.program(name).ok_or(LoaderError::NoObject)?;
        if runs(|| Some(program.info().ok()?.run_count())) {
            Ok(())
        } else {
            Err(LoaderError::Silent)
        }
    }
}

/// Whether a run count becomes more than 0. Each call of `count` is a system call, and so causes a run. True if the
/// count is not available.
fn runs(mut count: impl FnMut() -> Option<u64>) -> bool {
    (0..TRIES).any(|_| count() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_is_enough_and_none_is_silence() {
        let mut tries = 0;
        let mut from = |first: u32| {
            tries = 0;
            runs(|| {
                tries += 1;
                Some(u64::from(tries > first))
            })
        };
        assert!(from(1) && from(TRIES - 1));
        assert!(!from(TRIES));
        assert!(runs(|| None));
    }
}
