//! Names of the files: `2026-11-28.0.db`, and `2026-11-28.0.db.broken` for one that was set aside.

use jiff::{ToSpan as _, civil::Date};

use crate::time::{DAY_US, now};

/// The name of one file. The order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileName {
    /// Its day, counted from 1970-01-01 (UTC).
    pub(crate) day: i64,
    /// Its number within the day.
    pub(crate) number: u32,
    /// Whether it was set aside.
    pub(crate) is_broken: bool,
}

impl FileName {
    /// The meaning of a name; `None` if it is no file of a history.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (name, is_broken) = match name.strip_suffix(".broken") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (date, number) = name.strip_suffix(".db")?.split_once('.')?;
        let date: Date = date.parse().ok()?;
        let day = i64::from(EPOCH.until(date).ok()?.get_days());
        let found = Self { day, number: number.parse().ok()?, is_broken };
        // `+1`, `01` and dates in another form would be a second name of the same file.
        (day >= 0 && found.text() == with_suffix(name, is_broken)).then_some(found)
    }

    /// The name in the folder.
    pub(crate) fn text(self) -> String {
        let date = EPOCH.checked_add(self.day.days()).unwrap_or(Date::MAX);
        with_suffix(&format!("{date}.{}.db", self.number), self.is_broken)
    }

    /// Its day as a time span in µs, which ends now at the latest.
    pub(crate) fn span(self) -> (i64, i64) {
        let from = self.day * DAY_US;
        (from, (from + DAY_US - 1).min(now()).max(from))
    }
}

const EPOCH: Date = Date::constant(1970, 1, 1);

fn with_suffix(name: &str, is_broken: bool) -> String {
    if is_broken { format!("{name}.broken") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for text in ["2026-11-28.0.db", "2026-11-28.12.db", "1970-01-01.0.db.broken"] {
            assert_eq!(FileName::parse(text).unwrap().text(), text);
        }
        assert_eq!(FileName::parse("1970-01-02.3.db").unwrap().day, 1);
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for text in [
            "x.db",
            "2026-11-28.db",
            "2026-11-28.01.db",
            "2026-11-28.+1.db",
            "1969-01-01.0.db",
            "20261128.0.db",
        ] {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_order_of_names_is_that_of_time() {
        let name = |text| FileName::parse(text).unwrap();
        assert!(name("2026-11-27.9.db") < name("2026-11-28.0.db"));
        assert!(name("2026-11-28.9.db") < name("2026-11-28.10.db"));
    }
}
