//! Times that a user names: `03:12`, `2h` ago, `2026-11-28T03:12`, RFC 3339.

use jiff::{
    SignedDuration, Timestamp, ToSpan as _, Zoned,
    civil::{Date, DateTime, Time},
};

/// What a parser says about anything else.
const FORMS: &str =
    "a time is 03:12, 03:12:30, 2026-11-28, 2026-11-28T03:12, 2h (ago), or as in RFC 3339";

/// A time span: as exact as it was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its beginning, in µs since 1970.
    pub from_us: i64,
    /// Its last µs.
    pub until_us: i64,
}

/// A time, relative to now and in the local time zone.
///
/// # Errors
/// A sentence for the user that lists the forms of a time.
pub fn moment(text: &str) -> Result<Moment, String> {
    parse(text, &Zoned::now())
}

fn parse(text: &str, now: &Zoned) -> Result<Moment, String> {
    let wrong = || FORMS.to_owned();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(span(time, length_of(text.split('T').nth(1).unwrap_or_default())));
    }
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = SignedDuration::try_from(ago).map_err(|_| wrong())?;
        let time = now.timestamp().checked_sub(ago).map_err(|_| wrong())?;
        return Ok(span(time, SignedDuration::ZERO));
    }
    let local = |time: DateTime| time.to_zoned(now.time_zone().clone()).map_err(|_| wrong());
    let (date, clock) = match text.split_once(['T', ' ']) {
        Some((date, clock)) => (Some(date), Some(clock)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let date: Option<Date> = date.map(str::parse).transpose().map_err(|_| wrong())?;
    let time: Option<Time> = clock.map(str::parse).transpose().map_err(|_| wrong())?;
    let length = clock.map_or(SignedDuration::from_hours(24), length_of);
    let time = match (date, time) {
        (Some(date), time) => local(date.to_datetime(time.unwrap_or(Time::midnight())))?,
        (None, Some(time)) => {
            let today = local(now.date().to_datetime(time))?;
            // The latest such time in the past.
            let yesterday = || local(now.date().saturating_sub(1.day()).to_datetime(time));
            if today > *now { yesterday()? } else { today }
        }
        (None, None) => return Err(wrong()),
    };
    Ok(span(time.timestamp(), length))
}

/// How long a time of the clock is: `03:12` is a minute, `03:12:30` is a second.
fn length_of(clock: &str) -> SignedDuration {
    let clock = clock.split(['+', '-', 'Z', 'z', '[']).next().unwrap_or_default();
    match (clock.matches(':').count(), clock.contains(['.', ','])) {
        (0 | 1, false) => SignedDuration::from_mins(1),
        (_, false) => SignedDuration::from_secs(1),
        (_, true) => SignedDuration::ZERO,
    }
}

fn span(time: Timestamp, length: SignedDuration) -> Moment {
    let from_us = time.as_microsecond();
    let length = i64::try_from(length.as_micros()).unwrap_or(0);
    Moment { from_us, until_us: from_us.saturating_add((length - 1).max(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// A time and how long it is in µs, read on 2026-11-28 at 10:30 in Berlin.
    fn read(text: &str) -> (String, i64) {
        let now: Zoned = "2026-11-28T10:30:00+01:00[+01:00]".parse().unwrap();
        let moment = parse(text, &now).unwrap_or_else(|error| panic!("{text}: {error}"));
        let from = Timestamp::from_microsecond(moment.from_us).unwrap();
        (from.to_string(), moment.until_us - moment.from_us + 1)
    }

    #[test]
    fn times_of_the_clock_are_the_latest_in_the_past() {
        assert_eq!(read("03:12"), ("2026-11-28T02:12:00Z".into(), 60 * SECOND));
        assert_eq!(read("03:12:30"), ("2026-11-28T02:12:30Z".into(), SECOND));
        assert_eq!(read("10:31"), ("2026-11-27T09:31:00Z".into(), 60 * SECOND));
    }

    #[test]
    fn dates_are_local_and_rfc_3339_has_its_own_zone() {
        assert_eq!(read("2026-11-27T03:12"), ("2026-11-27T02:12:00Z".into(), 60 * SECOND));
        assert_eq!(read("2026-11-27 03:12:05"), ("2026-11-27T02:12:05Z".into(), SECOND));
        assert_eq!(read("2026-11-27"), ("2026-11-26T23:00:00Z".into(), 86_400 * SECOND));
        assert_eq!(read("2026-11-27T03:12:00Z"), ("2026-11-27T03:12:00Z".into(), SECOND));
        assert_eq!(read("2026-11-27T03:12:00.5-02:00"), ("2026-11-27T05:12:00.5Z".into(), 1));
    }

    #[test]
    fn a_duration_is_that_long_ago() {
        assert_eq!(read("2h"), ("2026-11-28T07:30:00Z".into(), 1));
        assert_eq!(read("1h30m"), ("2026-11-28T08:00:00Z".into(), 1));
    }

    #[test]
    fn anything_else_is_refused_in_one_line() {
        let now = Zoned::now();
        for text in ["", "x", "25:00", "3", "2026-13-01", "03:12T", "99999999999y", "-1h"] {
            assert_eq!(parse(text, &now), Err(FORMS.to_owned()), "{text}");
        }
    }
}
