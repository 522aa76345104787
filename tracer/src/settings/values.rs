//! Values that the command line and the configuration file write in the same way. Their messages have a fix.

use std::{num::NonZeroU64, time::Duration};

use bytesize::ByteSize;

/// A duration: `30s`, `5m`, `1h30m`; a bare number is seconds.
///
/// # Errors
/// What a duration looks like.
pub fn duration(text: &str) -> Result<Duration, String> {
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

/// A size: `500k`, `64MiB`; a bare number is bytes.
///
/// # Errors
/// What a size looks like.
pub fn size(text: &str) -> Result<NonZeroU64, String> {
    let size = text.parse::<ByteSize>().ok().and_then(|size| NonZeroU64::new(size.as_u64()));
    size.ok_or_else(|| "a size is a number of bytes with a unit, such as 500k or 64MiB".to_owned())
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
}
