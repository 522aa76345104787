//! Parsers of single values. Their messages have a fix.

use std::{path::PathBuf, time::Duration};

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

/// A duration: `30s`, `5m`, `1h30m`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text
        .parse::<u64>()
        .map(Duration::from_secs)
        .ok()
        .or_else(|| humantime::parse_duration(text).ok());
    match parsed {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a duration is a number with a unit, such as 30s, 5m or 1h30m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_with_and_without_units() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("0s").is_err());
        assert!(duration("soon").is_err());
    }

    #[test]
    fn pids_are_bounded() {
        assert_eq!(pid("71"), Ok(71));
        assert!(pid("0").is_err());
        assert!(pid("-1").is_err());
        assert!(pid("99999999").is_err());
    }
}
