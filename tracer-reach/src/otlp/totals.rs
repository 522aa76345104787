//! Lost bytes since the start, as a metric.
//!
//! Sums are cumulative, so a collector that was away misses nothing: its next answer is about all of them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point::Value,
    },
};
use tracer_history::Entry;

use super::{
    message::{flag, nanos, text},
    queue::Dropped,
};
use crate::told::{self, Missing};

/// Sets of attributes with a sum of their own. What belongs to others is in one sum, whose only attribute is
/// `otel.metric.overflow`, as the specification of OpenTelemetry's SDK wants it ("Cardinality limits").
const MOST_SETS: usize = 200;
/// Running jobs with a loss that are known, so that their later entries do not count it again.
const MOST_RUNNING: usize = 4_096;

/// What a sum is about. A pod's name is not in it, nor a scope's: each has a new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    rule: String,
    container: Option<String>,
    namespace: Option<String>,
    is_pod: bool,
    unit: Option<String>,
}

impl Labels {
    fn of(entry: &Entry) -> Self {
        let place = &entry.place;
        let bounded = |text: &String| told::cut(text, told::LONGEST).to_owned();
        let is_service =
            |unit: &&String| unit.ends_with(".service") && place.container_id.is_none();
        Self {
            rule: bounded(&entry.rule),
            container: place.container.as_ref().map(bounded),
            namespace: place.namespace.as_ref().map(bounded),
            is_pod: place.pod.is_some(),
            unit: place.unit.as_ref().filter(is_service).map(bounded),
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let name = if self.is_pod { "k8s.container.name" } else { "container.name" };
        let known = [
            ("tracer.rule", Some(&self.rule)),
            (name, self.container.as_ref()),
            ("k8s.namespace.name", self.namespace.as_ref()),
            ("systemd.unit.name", self.unit.as_ref()),
        ];
        known.into_iter().filter_map(|(key, value)| Some(text(key, value?))).collect()
    }
}

/// Bytes that did not arrive, by what they are about.
#[derive(Debug)]
pub(super) struct Totals {
    since_us: i64,
    sums: BTreeMap<Labels, Missing>,
    overflow: Missing,
    /// What was counted of jobs that run on: by pid and start of the first process, which the clock does not change.
    running: BTreeMap<(u32, u64), Missing>,
    changes: u64,
}

impl Totals {
    /// `since_us` is when they begin, in microseconds since 1970.
    pub(super) fn new(since_us: i64) -> Self {
        let (sums, running) = (BTreeMap::new(), BTreeMap::new());
        Self { since_us, sums, overflow: Missing::default(), running, changes: 0 }
    }

    /// Adds what did not arrive of a job, without what an earlier entry of the same job has told.
    pub(super) fn add(&mut self, entry: &Entry) {
        let missing = told::missing_of(&entry.streams);
        let job = (entry.pid, entry.started_ns);
        let before = self.running.get(&job).copied().unwrap_or_default();
        let new = Missing {
            lost: missing.lost.saturating_sub(before.lost),
            refused: missing.refused.saturating_sub(before.refused),
        };
        if !entry.is_interim {
            self.running.remove(&job);
        } else if new != Missing::default() {
            // If the job cannot be remembered, its last entry counts it all.
            if self.running.len() >= MOST_RUNNING && !self.running.contains_key(&job) {
                return;
            }
            self.running.insert(job, plus(before, new));
        }
        if new == Missing::default() {
            return;
        }
        self.changes += 1;
        let labels = Labels::of(entry);
        let has_room = self.sums.len() < MOST_SETS || self.sums.contains_key(&labels);
        let sum = if has_room { self.sums.entry(labels).or_default() } else { &mut self.overflow };
        *sum = plus(*sum, new);
    }

    /// Grows with each change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The metrics at this time, in microseconds since 1970.
    pub(super) fn metrics(&self, now_us: i64, dropped: Dropped) -> Vec<Metric> {
        let point = |attributes, value: u64| NumberDataPoint {
            attributes,
            start_time_unix_nano: nanos(self.since_us),
            time_unix_nano: nanos(now_us),
            value: Some(Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        };
        let of = |bytes: fn(&Missing) -> u64| {
            let sets = self.sums.iter().map(|(labels, sum)| (labels.attributes(), bytes(sum)));
            let overflow = (vec![flag("otel.metric.overflow", true)], bytes(&self.overflow));
            let all = sets.chain([overflow]).filter(|(_, sum)| *sum > 0);
            all.map(|(attributes, sum)| point(attributes, sum)).collect::<Vec<_>>()
        };
        let reasons = dropped.by_reason().into_iter();
        let dropped =
            reasons.map(|(name, sum)| point(vec![text("tracer.drop.reason", name)], sum)).collect();
        let all = [
            (
                LOST,
                "By",
                "Bytes that were written and that no process received",
                of(|sum| sum.lost),
            ),
            (REFUSED, "By", "Bytes that the kernel refused to take", of(|sum| sum.refused)),
            (DROPPED, "{record}", "Log records that did not reach the collector", dropped),
        ];
        let with_points = all.into_iter().filter(|(.., points)| !points.is_empty());
        with_points.map(|(name, unit, about, points)| sum_of(name, unit, about, points)).collect()
    }
}

/// Names of the metrics.
const LOST: &str = "tracer.output.lost";
const REFUSED: &str = "tracer.output.refused";
const DROPPED: &str = "tracer.export.dropped";

fn plus(one: Missing, other: Missing) -> Missing {
    Missing {
        lost: one.lost.saturating_add(other.lost),
        refused: one.refused.saturating_add(other.refused),
    }
}

fn sum_of(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        })),
        ..Metric::default()
    }
}

#[cfg(test)]
mod tests {
    use tracer_history::{Fate, Place, Stream};

    use super::*;

    fn entry(pid: u32, lost: u64, is_interim: bool) -> Entry {
        let fate = Some(Fate { lost, refused: 1, ..Fate::default() });
        let streams = vec![Stream { fd: 1, fate, ..Stream::default() }];
        Entry {
            pid,
            streams,
            is_interim,
            rule: "unread".into(),
            has_loss: true,
            ..Entry::default()
        }
    }

    fn of_container(name: &str, entry: Entry) -> Entry {
        let place = Place { container: Some(name.into()), ..Place::default() };
        Entry { place, ..entry }
    }

    /// All that is told as lost.
    fn sum(totals: &Totals) -> u64 {
        totals.sums.values().map(|sum| sum.lost).sum::<u64>() + totals.overflow.lost
    }

    #[test]
    fn a_loss_that_several_entries_tell_is_counted_once() {
        let mut totals = Totals::new(0);
        let mut after = |entry| {
            totals.add(&entry);
            sum(&totals)
        };
        assert_eq!(after(entry(1, 70, true)), 70);
        assert_eq!(after(entry(1, 70, true)), 70);
        assert_eq!(after(entry(1, 100, true)), 100);
        // A look that finds less: the reader came back.
        assert_eq!(after(entry(1, 0, true)), 100);
        assert_eq!(after(entry(1, 110, false)), 110);
        // Its pid has another job now, which ended and is counted whole.
        assert_eq!(after(entry(1, 5, false)), 115);
        assert_eq!(after(entry(2, 9, true)), 124);
        let later = Entry { began_us: 5_000_000, started_ns: 5_000_000_000, ..entry(2, 9, false) };
        assert_eq!(after(later), 133);
    }

    #[test]
    fn a_clock_that_is_set_while_a_job_runs_makes_no_other_job_of_it() {
        let mut totals = Totals::new(0);
        totals.add(&entry(1, 70, true));
        totals.add(&Entry { began_us: 3_600_000_000, ..entry(1, 80, true) });
        totals.add(&Entry { began_us: -5_000_000, ..entry(1, 90, false) });
        assert_eq!((sum(&totals), totals.running.len()), (90, 0));
    }

    #[test]
    fn a_running_job_that_is_not_remembered_is_counted_at_its_end() {
        let mut totals = Totals::new(0);
        (0..MOST_RUNNING as u32).for_each(|pid| totals.add(&entry(pid, 1, true)));
        let known = sum(&totals);
        totals.add(&entry(9_999_999, 50, true));
        totals.add(&entry(9_999_999, 60, true));
        assert_eq!(sum(&totals), known);
        totals.add(&entry(9_999_999, 60, false));
        assert_eq!((sum(&totals), totals.running.len()), (known + 60, MOST_RUNNING));
    }

    #[test]
    fn sets_of_attributes_are_bounded_and_their_sum_is_exact() {
        let mut totals = Totals::new(7);
        for round in 0..2 {
            for number in 0..MOST_SETS + 50 {
                totals.add(&of_container(&format!("c{number}"), entry(round, 3, false)));
            }
        }
        assert_eq!(totals.sums.len(), MOST_SETS);
        assert_eq!(totals.overflow, Missing { lost: 2 * 50 * 3, refused: 2 * 50 });
        assert_eq!(sum(&totals), 2 * 3 * (MOST_SETS as u64 + 50));
        let metrics = totals.metrics(9, Dropped { refused: 4, ..Dropped::default() });
        let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, [LOST, REFUSED, DROPPED]);
        let Some(Data::Sum(lost)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert!(lost.is_monotonic && lost.aggregation_temporality == 2);
        assert_eq!(lost.data_points.len(), MOST_SETS + 1);
        let last = lost.data_points.last().unwrap();
        assert_eq!(last.attributes, [flag("otel.metric.overflow", true)]);
        assert_eq!((last.start_time_unix_nano, last.time_unix_nano), (7_000, 9_000));
        let Some(Data::Sum(dropped)) = &metrics[2].data else { panic!("{metrics:?}") };
        assert_eq!(dropped.data_points[1].value, Some(Value::AsInt(4)));
    }

    #[test]
    fn names_that_are_new_each_time_are_no_attributes() {
        let mut place = Place {
            container: Some("app".into()),
            container_id: Some("77".into()),
            namespace: Some("prod".into()),
            pod: Some("app-5f7".into()),
            unit: Some("cri-77.scope".into()),
            ..Place::default()
        };
        let attributes = |place: &Place| {
            Labels::of(&Entry { place: place.clone(), ..entry(1, 1, false) }).attributes()
        };
        let expected = [
            text("tracer.rule", "unread"),
            text("k8s.container.name", "app"),
            text("k8s.namespace.name", "prod"),
        ];
        assert_eq!(attributes(&place), expected);
        place = Place { unit: Some("session-4.scope".into()), ..Place::default() };
        assert_eq!(attributes(&place), [text("tracer.rule", "unread")]);
        place.unit = Some("a.service".into());
        let expected = [text("tracer.rule", "unread"), text("systemd.unit.name", "a.service")];
        assert_eq!(attributes(&place), expected);
    }
}
