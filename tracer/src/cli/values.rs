//! Parsers of single values. Their messages have a fix.

use std::path::PathBuf;

/// The largest pid that a kernel can have (`PID_MAX_LIMIT`, include/linux/threads.h).
const PID_MAX: u32 = 4 * 1024 * 1024;
/// The largest fd in the eBPF programs' mask.
const FD_MAX: u32 = 63;

/// A pid.
pub(super) fn pid(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(pid @ 1..=PID_MAX) => Ok(pid),
        Ok(_) => Err(format!("a pid is a number from 1 to {PID_MAX}")),
        Err(_) => Err("a pid is a number, as in `ps`".to_owned()),
    }
}

/// An fd number.
pub(super) fn fd(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(fd @ 0..=FD_MAX) => Ok(fd),
        Ok(_) => Err(format!("fds above {FD_MAX} are counted with --all-fds")),
        Err(_) => Err("an fd is a number, such as 1 for stdout".to_owned()),
    }
}

/// A file to record to.
pub(super) fn record(text: &str) -> Result<PathBuf, String> {
    match text {
        "" | "-" => {
            Err("name a file to save the session in; standard output is for the report".into())
        }
        path => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_are_bounded() {
        assert_eq!(pid("71"), Ok(71));
        assert!(pid("0").is_err());
        assert!(pid("-1").is_err());
        assert!(pid("99999999").is_err());
    }
}
