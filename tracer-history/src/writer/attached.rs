//! When tracer was attached, as rows that move on.

use crate::{Coverage, Gap, entry::reason, names::FileName};

/// A row of the table `coverage`.
#[derive(Clone, Debug)]
struct Row {
    coverage: Coverage,
    /// Where it is.
    place: Option<(FileName, i64)>,
    /// Until when the file says that it goes on.
    written_us: i64,
    /// Whether the file has an older state.
    is_changed: bool,
}

/// What was before a coverage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing was attached, for this reason; `None` for the one that the history itself knows.
    NotAttached(Option<String>),
    /// The programs stayed attached.
    Attached {
        /// Why something may be missing nevertheless.
        missed: Option<String>,
    },
}

/// The coverage of this process, and the end of the one before it.
#[derive(Debug, Default)]
pub(super) struct Attached {
    rows: Vec<Row>,
    /// When the latest coverage ended, and whether it was stopped.
    ended: Option<(i64, bool)>,
}

impl Attached {
    /// What an earlier process left behind.
    pub(super) fn after(previous: Option<&Coverage>) -> Self {
        let ended = previous.map(|it| (it.until_us, it.ended.is_some()));
        Self { rows: Vec::new(), ended }
    }

    /// tracer is attached to one more thing. Returns the gap before it, if there is one.
    pub(super) fn begin(&mut self, scope: String, at_us: i64, before: Before) -> Option<Gap> {
        let mut is_open = self.rows.iter().filter(|row| row.coverage.ended.is_none()).peekable();
        let is_first = is_open.peek().is_none();
        if is_open.any(|row| row.coverage.scope == scope) {
            return None;
        }
        let ended = self.ended.filter(|_| is_first);
        let from_us = match (&before, ended) {
            (Before::Attached { .. }, Some((until_us, _))) => until_us.min(at_us),
            _ => at_us,
        };
        let coverage = Coverage { from_us, until_us: at_us, scope, ended: None };
        self.rows.push(Row { coverage, place: None, written_us: at_us, is_changed: true });
        let (from_us, was_stopped) = ended?;
        self.ended = None;
        let why = if was_stopped { reason::STOPPED } else { reason::NOT_RUNNING };
        let reason = match before {
            Before::NotAttached(reason) => reason.unwrap_or_else(|| why.to_owned()),
            Before::Attached { missed } => missed?,
        };
        (from_us < at_us).then(|| Gap { from_us, until_us: at_us, reason, ..Gap::default() })
    }

    /// It is still attached.
    pub(super) fn go_on(&mut self, at_us: i64) {
        for row in self.rows.iter_mut().filter(|row| row.coverage.ended.is_none()) {
            if at_us > row.coverage.until_us {
                row.coverage.until_us = at_us;
                row.is_changed = true;
            }
        }
    }

    /// It is attached to nothing any more.
    pub(super) fn end(&mut self, at_us: i64, why: &str) {
        self.go_on(at_us);
        for row in self.rows.iter_mut().filter(|row| row.coverage.ended.is_none()) {
            row.coverage.ended = Some(why.to_owned());
            row.is_changed = true;
            let latest = self.ended.map_or(i64::MIN, |(until, _)| until);
            self.ended = Some((latest.max(row.coverage.until_us), true));
        }
    }

    /// What has to be written to this file. `place` is the file that has the row now; a row in another file, or in one
    /// that was removed, goes on in a new row from its latest time.
    pub(super) fn changes(&self, file: FileName) -> Vec<(Option<i64>, Coverage)> {
        let change = |row: &Row| match row.place {
            Some((there, id)) if there == file => (Some(id), row.coverage.clone()),
            _ => (None, row.coverage.clone()),
        };
        self.changed().map(change).collect()
    }

    fn changed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.is_changed)
    }

    /// Everything of [`Attached::changes`] is written.
    pub(super) fn written(&mut self, file: FileName, ids: &[i64]) {
        let rows = self.rows.iter_mut().filter(|row| row.is_changed);
        for (row, id) in rows.zip(ids) {
            row.place = Some((file, *id));
            row.written_us = row.coverage.until_us;
            row.is_changed = false;
        }
        self.rows.retain(|row| row.coverage.ended.is_none());
    }

    /// A new file is written from now on: open rows go on there.
    pub(super) fn moved(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.place.is_some()) {
            row.coverage.from_us = row.written_us;
            row.place = None;
            row.is_changed = true;
        }
    }

    /// Whether something has to be written.
    pub(super) fn is_changed(&self) -> bool {
        self.changed().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: FileName = FileName { day: 1, number: 0, is_broken: false };
    const SECOND: FileName = FileName { day: 2, number: 0, is_broken: false };

    #[test]
    fn a_row_goes_on_in_the_next_file_without_a_hole() {
        let mut attached = Attached::default();
        assert_eq!(attached.begin("all".into(), 10, Before::NotAttached(None)), None);
        attached.go_on(20);
        let changes = attached.changes(FIRST);
        assert_eq!((changes[0].0, changes[0].1.from_us, changes[0].1.until_us), (None, 10, 20));
        attached.written(FIRST, &[7]);
        assert!(!attached.is_changed());
        attached.go_on(30);
        assert_eq!(attached.changes(FIRST)[0].0, Some(7));
        attached.moved();
        let (row, coverage) = &attached.changes(SECOND)[0];
        assert_eq!((*row, coverage.from_us, coverage.until_us), (None, 20, 30));
    }

    #[test]
    fn the_time_before_is_a_gap_with_its_reason() {
        let until = |ended: Option<&str>| Coverage {
            until_us: 5,
            ended: ended.map(str::to_owned),
            ..Coverage::default()
        };
        for (ended, why) in [(None, reason::NOT_RUNNING), (Some("stopped"), reason::STOPPED)] {
            let mut attached = Attached::after(Some(&until(ended)));
            let gap = attached.begin("all".into(), 9, Before::NotAttached(None)).unwrap();
            assert_eq!((gap.from_us, gap.until_us, gap.reason.as_str()), (5, 9, why));
            assert_eq!(attached.begin("more".into(), 10, Before::NotAttached(None)), None);
            attached.end(20, "SIGTERM");
            let gap = attached.begin("all".into(), 30, Before::NotAttached(None)).unwrap();
            assert_eq!((gap.from_us, gap.until_us, gap.reason.as_str()), (20, 30, reason::STOPPED));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_gap() {
        let previous = Coverage { until_us: 50, ..Coverage::default() };
        assert_eq!(
            Attached::after(Some(&previous)).begin("all".into(), 9, Before::NotAttached(None)),
            None
        );
    }

    #[test]
    fn a_coverage_that_goes_on_begins_where_the_one_before_ended() {
        let previous =
            Coverage { until_us: 5, ended: Some("stopped".into()), ..Coverage::default() };
        for missed in [None, Some("containers_missed".to_owned())] {
            let mut attached = Attached::after(Some(&previous));
            let gap = attached.begin("all".into(), 9, Before::Attached { missed: missed.clone() });
            assert_eq!(
                gap.map(|gap| (gap.from_us, gap.until_us, gap.reason)),
                missed.map(|it| (5, 9, it))
            );
            assert_eq!(attached.changes(FIRST)[0].1.from_us, 5);
        }
        let mut attached = Attached::after(Some(&previous));
        let replaced = Before::NotAttached(Some("version_changed".into()));
        assert_eq!(attached.begin("all".into(), 9, replaced).unwrap().reason, "version_changed");
        assert_eq!(attached.changes(FIRST)[0].1.from_us, 9);
    }
}
