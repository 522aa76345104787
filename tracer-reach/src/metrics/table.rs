//! Counters by labels, with a hard limit of their number.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, counter::ConstCounter},
};

/// The most series of one metric, and as many again for what is beyond them: that has fewer labels.
pub(super) const MOST_SERIES: usize = 1_000;

/// Labels of a series.
pub(super) trait Labels:
    EncodeLabelSet + Clone + Debug + Ord + Send + Sync + 'static
{
    /// What stands for these labels when there is no room for them.
    fn folded(&self) -> Self;
}

/// Counters by labels, in the order of the labels. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Table<L>(Arc<Mutex<BTreeMap<L, u64>>>);

impl<L> Default for Table<L> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<L: Labels> Table<L> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<L, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to a counter. Returns whether it has a series of its own.
    pub(super) fn add(&self, labels: &L, more: u64) -> bool {
        let mut counters = self.lock();
        let has_room = counters.len() < MOST_SERIES;
        let (counter, is_own) = match counters.get_mut(labels) {
            Some(counter) => (counter, true),
            None if has_room => (counters.entry(labels.clone()).or_default(), true),
            None => (counters.entry(labels.folded()).or_default(), false),
        };
        *counter = counter.saturating_add(more);
        is_own
    }

    /// Sets a counter to a number that was counted elsewhere.
    pub(super) fn set(&self, labels: L, number: u64) {
        let mut counters = self.lock();
        if counters.len() < MOST_SERIES || counters.contains_key(&labels) {
            counters.insert(labels, number);
        }
    }

    /// Removes the counters with such labels.
    pub(super) fn remove(&self, is_gone: impl Fn(&L) -> bool) {
        self.lock().retain(|labels, _| !is_gone(labels));
    }
}

impl<L: Labels> EncodeMetric for Table<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, number) in self.lock().iter() {
            ConstCounter::new(*number).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl<L> TypedMetric for Table<L> {
    const TYPE: MetricType = MetricType::Counter;
}
