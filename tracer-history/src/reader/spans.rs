//! When tracer saw, and when it did not.

use crate::{Coverage, Gap, entry::reason, names::FileName, time};

/// How far a coverage that goes on may reach beyond its latest sign of life, in µs.
const SLACK_US: i64 = 60_000_000;

/// Coverage and gaps of all files.
#[derive(Debug, Default)]
pub(super) struct Spans {
    pub(super) coverage: Vec<Coverage>,
    pub(super) gaps: Vec<Gap>,
}

impl Spans {
    /// Adds those of one file.
    pub(super) fn add(&mut self, coverage: Vec<Coverage>, gaps: Vec<Gap>) {
        self.coverage.extend(coverage);
        self.gaps.extend(gaps);
    }

    /// Adds the gap of a damaged file, unless the writer did so.
    pub(super) fn add_damaged(&mut self, name: FileName) {
        let (from_us, until_us) = name.span();
        let mut told = self.gaps.iter().filter(|gap| gap.reason == reason::DAMAGED);
        if told.all(|gap| gap.from_us != from_us) {
            let reason = reason::DAMAGED.to_owned();
            self.gaps.push(Gap { from_us, until_us, reason, ..Gap::default() });
        }
    }

    /// Sorts, and joins coverage that goes on in the next file.
    pub(super) fn finish(mut self) -> Self {
        self.gaps.sort_by_key(|gap| (gap.from_us, gap.until_us));
        self.coverage.sort_by_key(|it| (it.from_us, it.until_us));
        let mut joined: Vec<Coverage> = Vec::new();
        for next in self.coverage {
            let before = joined.iter_mut().rfind(|it| {
                it.scope == next.scope && it.ended.is_none() && it.until_us >= next.from_us
            });
            match before {
                Some(before) => {
                    before.until_us = before.until_us.max(next.until_us);
                    before.ended = next.ended;
                }
                None => joined.push(next),
            }
        }
        Self { coverage: joined, gaps: self.gaps }
    }

    /// The coverage that reaches farthest.
    fn last(&self) -> Option<&Coverage> {
        self.coverage.iter().max_by_key(|it| it.until_us)
    }

    /// Until when the latest coverage reaches, and whether it was stopped.
    fn end(&self) -> Option<(i64, bool)> {
        let last = self.last()?;
        let is_stopped = last.ended.is_some();
        Some((last.until_us.saturating_add(if is_stopped { 0 } else { SLACK_US }), is_stopped))
    }

    /// Until when anything is known.
    pub(super) fn known_until(&self) -> i64 {
        self.last().map_or(0, |it| it.until_us)
    }

    /// When the first coverage began.
    pub(super) fn begin(&self) -> Option<i64> {
        self.coverage.iter().map(|it| it.from_us).min()
    }

    /// Gaps that overlap a time span, and the time since tracer was last attached.
    pub(super) fn blind(&self, from_us: i64, until_us: i64) -> Vec<Gap> {
        let mut gaps = self.gaps.clone();
        if let Some((end, is_stopped)) = self.end()
            && end < until_us.min(time::now())
        {
            let why = if is_stopped { reason::STOPPED } else { reason::NOT_RUNNING };
            let (from_us, until_us) = (self.known_until(), time::now().max(until_us));
            gaps.push(Gap { from_us, until_us, reason: why.to_owned(), ..Gap::default() });
        }
        gaps.retain(|gap| gap.overlaps(from_us, until_us));
        gaps
    }

    /// Whether tracer was attached to anything all that time.
    pub(super) fn covers(&self, from_us: i64, until_us: i64) -> bool {
        let mut reached = from_us;
        let end = self.end();
        for it in &self.coverage {
            if it.from_us > reached {
                break;
            }
            let is_last = self.last() == Some(it);
            let until = if is_last { end.map_or(it.until_us, |(end, _)| end) } else { it.until_us };
            reached = reached.max(until);
        }
        reached >= until_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(from_us: i64, until_us: i64, ended: Option<&str>) -> Coverage {
        Coverage { from_us, until_us, scope: "all".into(), ended: ended.map(str::to_owned) }
    }

    #[test]
    fn coverage_goes_on_in_the_next_file() {
        let mut spans = Spans::default();
        spans.add(vec![coverage(20, 30, Some("x")), coverage(40, 50, None)], Vec::new());
        spans.add(vec![coverage(10, 20, None)], Vec::new());
        let spans = spans.finish();
        assert_eq!(spans.coverage, [coverage(10, 30, Some("x")), coverage(40, 50, None)]);
        assert!(spans.covers(10, 30) && spans.covers(41, 60));
        assert!(!spans.covers(9, 30) && !spans.covers(10, 31) && !spans.covers(25, 45));
    }

    #[test]
    fn nothing_is_known_after_the_latest_coverage() {
        let mut spans = Spans::default();
        spans.add(vec![coverage(10, 20, Some("x"))], Vec::new());
        assert_eq!(spans.blind(21, 30)[0].reason, reason::STOPPED);
        assert!(spans.blind(12, 19).is_empty());
        spans.add(vec![coverage(10, 30, None)], Vec::new());
        // The next sign of life may be on its way.
        assert!(spans.blind(31, 32).is_empty());
        assert_eq!(spans.blind(31, 31 + SLACK_US)[0].reason, reason::NOT_RUNNING);
    }

    #[test]
    fn a_damaged_file_is_told_once() {
        let name = FileName { day: 3, number: 0, is_broken: true };
        let mut spans = Spans::default();
        spans.add_damaged(name);
        spans.add_damaged(FileName { number: 1, ..name });
        assert_eq!(spans.gaps.len(), 1);
        assert_eq!((spans.gaps[0].from_us, spans.gaps[0].until_us), name.span());
    }
}
