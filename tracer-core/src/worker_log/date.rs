//! Dates and times of day in logs.

use jiff::Timestamp;

use super::StatementTime;

const SECOND: i64 = 1_000_000_000;

/// Reads RFC 3339 with any number of decimals, as Go writes it. Returns nanoseconds since 1970.
///
/// Refuses other forms that the library accepts (a space instead of `T`, no seconds): the first words of unrelated
/// lines would become times.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let has_shape = bytes.get(10) == Some(&b'T')
        && bytes.get(13) == Some(&b':')
        && bytes.get(16) == Some(&b':')
        && bytes.first().is_some_and(u8::is_ascii_digit);
    if !has_shape || text.contains('[') {
        return None;
    }
    i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}

/// Reads Go's `time.Kitchen`: `3:04PM`.
pub(super) fn kitchen(text: &str) -> Option<StatementTime> {
    let (clock, is_afternoon) = match text.strip_suffix("PM") {
        Some(clock) => (clock, true),
        None => (text.strip_suffix("AM")?, false),
    };
    let (hour, minute) = clock.split_once(':')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(is_number(hour) && is_number(minute) && minute.len() == 2) {
        return None;
    }
    let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
    if !(1..=12).contains(&hour) || minute > 59 {
        return None;
    }
    let hour = hour % 12 + if is_afternoon { 12 } else { 0 };
    Some(StatementTime::TimeOfDay { hour, minute })
}

/// The more precise of two dates of one line: the inner one, which is nearer to the event, unless it has whole
/// seconds and the outer one is in the same second with decimals.
pub(super) fn finer(outer: Option<i64>, inner: Option<i64>) -> Option<i64> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => {
            let is_same_moment = (0..2 * SECOND).contains(&outer.saturating_sub(inner));
            let is_coarse = inner % SECOND == 0;
            Some(if is_coarse && is_same_moment { outer } else { inner })
        }
        (outer, inner) => inner.or(outer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_dates_are_read_in_any_zone() {
        assert_eq!(rfc3339("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
        assert_eq!(rfc3339("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(rfc3339("1970-01-01T00:00:00.123456789Z"), Some(123_456_789));
        for text in ["", "3:04PM", "1970-01-01", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00"] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        assert_eq!(rfc3339("1970-01-01T00:00:00Z[UTC]"), None, "no logger writes it so");
        assert_eq!(rfc3339("9999-01-01T00:00:00Z"), None, "does not fit 64 bits of nanoseconds");
    }

    #[test]
    fn kitchen_clock_turns_over_at_twelve() {
        let at = |hour, minute| Some(StatementTime::TimeOfDay { hour, minute });
        assert_eq!(kitchen("12:00AM"), at(0, 0));
        assert_eq!(kitchen("12:59PM"), at(12, 59));
        assert_eq!(kitchen("3:04PM"), at(15, 4));
        for text in ["0:00AM", "13:00PM", "3:4PM", "3:60AM", "3:04", "PM", "+3:04PM", ":04PM"] {
            assert_eq!(kitchen(text), None, "{text}");
        }
    }

    #[test]
    fn a_finer_stamp_replaces_whole_seconds_of_the_same_second_only() {
        let line = Some(10 * SECOND);
        assert_eq!(finer(Some(10 * SECOND + 7), line), Some(10 * SECOND + 7));
        assert_eq!(finer(Some(13 * SECOND), line), line, "shipped later");
        assert_eq!(finer(Some(9 * SECOND), line), line, "stamped before it was written");
        assert_eq!(finer(Some(10 * SECOND + 7), Some(10 * SECOND + 3)), Some(10 * SECOND + 3));
        assert_eq!(finer(None, line), line);
        assert_eq!(finer(line, None), line);
    }
}
