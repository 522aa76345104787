//! What became of the output of one command.

use std::{collections::HashMap, ops::ControlFlow};

use super::{
    Answer, Question, Reader, Subject,
    cursor::{Kind, Order, Query, Row},
    file::File,
    spans::Spans,
};
use crate::{
    Entry, Gap, reason, rule, severity,
    store::{LONG_US, MEDIUM_US},
    time,
};

/// How far from the time that is asked for a command may have ended, in µs.
const NEAR_US: i64 = 300_000_000;

/// Answers a question.
pub(super) fn answer(reader: &Reader, question: &Question) -> Answer {
    let Question { subject, at_us, precision_us } = question;
    let spans = reader.spans();
    let first_entry = reader.files().filter_map(File::begins_us).min();
    let Some(history_begins_us) = spans.begin().into_iter().chain(first_entry).min() else {
        return Answer::Empty;
    };
    let ask = Ask { reader, subject, spans: &spans };
    let Some(at) = at_us else {
        let until_us = spans.known_until().max(history_begins_us);
        let latest = ask.latest_loss().or_else(|| ask.latest(Kind::Told));
        let latest = latest.or_else(|| ask.latest_command());
        return latest.map_or_else(
            || ask.not_seen(history_begins_us, until_us, None),
            |candidate| ask.found(candidate, 0),
        );
    };
    let (from, until) = (*at, at.saturating_add((*precision_us).max(0)));
    if let Some((best, others)) = ask.running(from, until).or_else(|| ask.near(from, until)) {
        return ask.found(best, others);
    }
    if until < history_begins_us {
        return Answer::TooOld { history_begins_us };
    }
    let gaps = ask.blind(from, until);
    if !gaps.is_empty() {
        return Answer::Blind { gaps };
    }
    // The future is not a part of what was looked through.
    let end = until.saturating_add(NEAR_US).min(time::now().max(until));
    let nearest = ask.nearest(from);
    ask.not_seen(from.saturating_sub(NEAR_US), end, nearest)
}

/// How many warnings that tell of a loss are passed over.
const MOST_DOUBTFUL: usize = 256;
/// How many silent commands are passed over.
const MOST_SILENT: usize = 32;

/// A row that may be the answer, and its file.
struct Candidate<'a> {
    file: &'a File,
    row: Row,
}

struct Ask<'a> {
    reader: &'a Reader,
    subject: &'a Subject,
    spans: &'a Spans,
}

impl<'a> Ask<'a> {
    fn found(&self, Candidate { file, row }: Candidate<'a>, others: u64) -> Answer {
        let Some(mut entry) = file.load(&row) else {
            return self.not_seen(row.began_us, row.ended_us, None);
        };
        entry.report = file.report(row.id);
        entry.tails = file.tails(row.id);
        let mut gaps = self.spans.blind(entry.began_us, entry.ended_us);
        let place = &entry.place;
        let names = [&place.container, &place.container_id];
        // What was found is not what was missed.
        let may_concern = |gap: &Gap| gap.reason != reason::CONTAINERS_MISSED;
        gaps.retain(|gap| {
            may_concern(gap) && (gap.container.is_none() || names.contains(&&gap.container))
        });
        Answer::Found { entry: Box::new(entry), others, gaps }
    }

    fn not_seen(&self, from_us: i64, until_us: i64, nearest: Option<Entry>) -> Answer {
        let covered =
            self.spans.covers(from_us, until_us) && self.blind(from_us, until_us).is_empty();
        Answer::NotSeen { from_us, until_us, covered, nearest: nearest.map(Box::new) }
    }

    /// Gaps of the subject in a time span.
    fn blind(&self, from_us: i64, until_us: i64) -> Vec<Gap> {
        let mut gaps = self.spans.blind(from_us, until_us);
        gaps.retain(|gap| match (&gap.container, &self.subject.container) {
            (Some(container), Some(asked)) => container.starts_with(asked.as_str()),
            _ => true,
        });
        gaps
    }

    fn query(&self, since_us: i64, until_us: i64, kind: Kind) -> Query<'a> {
        Query { since_us, until_us, kind, subject: self.subject }
    }

    fn first(&self, query: &Query<'_>, order: Order) -> Option<Candidate<'a>> {
        let mut found = None;
        self.each(query, order, |candidate| {
            found = Some(candidate);
            ControlFlow::Break(())
        });
        found
    }

    fn latest(&self, kind: Kind) -> Option<Candidate<'a>> {
        self.first(&self.query(0, i64::MAX, kind), Order::NewestFirst)
    }

    /// The latest loss. A warning that tells of one counts if there is no other among the latest.
    fn latest_loss(&self) -> Option<Candidate<'a>> {
        self.latest_that(Kind::Lost, MOST_DOUBTFUL, |entry| entry.severity == severity::LOSS)
    }

    /// The latest command, without those that were silent, if there is another one among the latest: a service itself
    /// often says nothing, and its commands do.
    fn latest_command(&self) -> Option<Candidate<'a>> {
        self.latest_that(Kind::Any, MOST_SILENT, |entry| entry.rule != rule::NEVER_WROTE)
    }

    /// The latest of the rows of a kind that `is_meant`, if there is one among the latest `most`; else the latest.
    fn latest_that(
        &self,
        kind: Kind,
        most: usize,
        is_meant: impl Fn(&Entry) -> bool,
    ) -> Option<Candidate<'a>> {
        let (mut latest, mut seen) = (None, 0);
        self.each(&self.query(0, i64::MAX, kind), Order::NewestFirst, |candidate| {
            seen += 1;
            if candidate.file.load(&candidate.row).is_some_and(|entry| is_meant(&entry)) {
                latest = Some(candidate);
                return ControlFlow::Break(());
            }
            latest = latest.take().or(Some(candidate));
            if seen < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        latest
    }

    /// What ran in a time span: short commands that ended soon after it, longer ones that ended a while after it, and
    /// the longest, which may have ended at any time.
    fn running(&self, from: i64, until: i64) -> Option<(Candidate<'a>, u64)> {
        let soon = until.saturating_add(MEDIUM_US);
        let later = until.saturating_add(LONG_US);
        let mut all = Candidates::default();
        for (since, until_us, kind) in [
            (from, soon, Kind::Any),
            (soon.saturating_add(1), later, Kind::Medium),
            (later.saturating_add(1), i64::MAX, Kind::Long),
        ] {
            self.each(&self.query(since, until_us, kind), Order::OldestFirst, |candidate| {
                if candidate.row.began_us <= until {
                    all.add(candidate);
                }
                ControlFlow::Continue(())
            });
        }
        all.best(from, until)
    }

    /// What ended near a time span: losses first, then warnings, then the nearest.
    fn near(&self, from: i64, until: i64) -> Option<(Candidate<'a>, u64)> {
        let (since_us, until_us) = (from.saturating_sub(NEAR_US), until.saturating_add(NEAR_US));
        let mut all = Candidates::default();
        self.each(&self.query(since_us, until_us, Kind::Any), Order::OldestFirst, |candidate| {
            all.add(candidate);
            ControlFlow::Continue(())
        });
        all.best(from, until)
    }

    /// The command that ended nearest to a time.
    fn nearest(&self, at: i64) -> Option<Entry> {
        let before = self.first(&self.query(0, at, Kind::Any), Order::NewestFirst);
        let after = self.first(&self.query(at, i64::MAX, Kind::Any), Order::OldestFirst);
        let both = before.into_iter().chain(after);
        let nearest = both.min_by_key(|it| it.row.ended_us.abs_diff(at))?;
        nearest.file.load(&nearest.row)
    }

    fn each(
        &self,
        query: &Query<'_>,
        order: Order,
        mut take: impl FnMut(Candidate<'a>) -> ControlFlow<()>,
    ) {
        self.reader
            .visit(query, order, &mut |file, row| take(Candidate { file, row: row.clone() }));
    }
}

/// Commands that match, each once: of what was told while one ran, the latest.
#[derive(Default)]
struct Candidates<'a>(HashMap<(u32, i64), Candidate<'a>>);

impl<'a> Candidates<'a> {
    fn add(&mut self, candidate: Candidate<'a>) {
        let key = (candidate.row.pid, candidate.row.began_us);
        let is_newer = self.0.get(&key).is_none_or(|known| known.row.id < candidate.row.id);
        if is_newer {
            self.0.insert(key, candidate);
        }
    }

    /// The best, and how many others there are.
    fn best(self, from: i64, until: i64) -> Option<(Candidate<'a>, u64)> {
        let others = (self.0.len() as u64).saturating_sub(1);
        let distance = |ended: i64| ended.abs_diff(ended.clamp(from, until));
        let rank =
            |it: &Candidate<'_>| (it.row.weight, u64::MAX - distance(it.row.ended_us), it.row.id);
        Some((self.0.into_values().max_by_key(rank)?, others))
    }
}
