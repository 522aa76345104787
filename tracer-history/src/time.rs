//! Times of the history: µs since 1970, and days (UTC).

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds of a day (UTC days have no leap second in this count).
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// Times are kept from 1970 to the year 2255, so that [`id`] fits.
const LATEST_US: i64 = 9_000_000_000_000_000;
/// How many entries one µs has room for.
const PER_US: i64 = 1024;

/// A time that the history can hold.
pub(crate) fn clamp(us: i64) -> i64 {
    us.clamp(0, LATEST_US)
}

/// The day of a time, counted from 1970-01-01.
pub(crate) fn day(us: i64) -> i64 {
    clamp(us) / DAY_US
}

/// The smallest id of an entry that ended at this time.
pub(crate) fn id(us: i64) -> i64 {
    clamp(us) * PER_US
}

/// When the entry with this id ended.
pub(crate) fn of_id(id: i64) -> i64 {
    id / PER_US
}

/// The present.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
