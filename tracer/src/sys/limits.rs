//! Limits of this process: raised where tracer needs more, and given back to the command that it starts.

use std::{io, sync::OnceLock};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// The limit on open files that tracer was started with.
static FILES: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit on open files to the hard one: each named process takes one.
pub(crate) fn raise_files() {
    let before = FILES.get_or_init(|| getrlimit(Resource::Nofile));
    // If this fails, the limit stays, and the error of the call that needs more names it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..*before });
}

/// Sets the limit on open files that tracer was started with. Async-signal-safe: it is called between fork and exec.
pub(crate) fn restore_files() {
    if let Some(before) = FILES.get() {
        // Lowering a limit cannot fail.
        let _ = setrlimit(Resource::Nofile, *before);
    }
}

/// How many files this process may have open; `None` without a limit.
pub(crate) fn files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// An error of writing a file, in words; with the cure where a limit is the cause.
#[must_use]
pub fn in_words(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::FBIG) => {
            "it would be larger than tracer may make a file: raise the limit (ulimit -f)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// An error of `clone(2)` in words.
#[must_use]
pub fn start_in_words(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => {
            "the limit on processes is reached: raise it (ulimit -u, or pids.max of the cgroup)"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_with_its_cure() {
        let error = io::Error::from(Errno::FBIG);
        assert!(in_words(&error).ends_with("(ulimit -f)"), "{}", in_words(&error));
        let other = io::Error::from(Errno::NOSPC);
        assert_eq!(in_words(&other), other.to_string());
    }
}
