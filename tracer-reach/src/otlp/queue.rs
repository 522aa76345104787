//! The queue between the recorder and the thread that sends.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

/// Records that may wait, with those that are being sent.
pub(super) const MOST_RECORDS: usize = 2_048;
/// Their memory in bytes.
pub(super) const MOST_BYTES: usize = 8 << 20;
/// Records of one batch.
pub(super) const BATCH_RECORDS: usize = 512;
/// Memory of the records of one batch, in bytes.
pub(super) const BATCH_BYTES: usize = 2 << 20;

/// Log records that did not reach the collector, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The queue was full.
    pub queue_full: u64,
    /// The collector refused them.
    pub refused: u64,
    /// The collector did not take them for a quarter of an hour.
    pub gave_up: u64,
}

impl Dropped {
    /// Each reason with its name.
    #[must_use]
    pub const fn by_reason(&self) -> [(&'static str, u64); 3] {
        [("queue_full", self.queue_full), ("refused", self.refused), ("gave_up", self.gave_up)]
    }

    /// The sum over all reasons.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.queue_full.saturating_add(self.refused).saturating_add(self.gave_up)
    }
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<LogRecord>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// Records that were taken and not settled, and their bytes.
    taken: (usize, usize),
    dropped: Dropped,
    /// Until when the rest may be sent.
    closing: Option<Instant>,
    is_finished: bool,
}

/// A bounded queue. Its lock is never held during anything that can block.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    linger: Duration,
}

/// Memory that a record takes, about: its texts, and what each attribute has around them.
fn memory_of(record: &LogRecord) -> usize {
    size_of::<LogRecord>() + record.encoded_len() + 128 * record.attributes.len()
}

impl Queue {
    /// `linger` is how long a record waits for others.
    pub(super) fn new(linger: Duration) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), linger }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, if there is room for it.
    pub(super) fn push(&self, record: LogRecord) {
        let bytes = memory_of(&record);
        let mut state = self.lock();
        let (in_flight, of_flight) = state.taken;
        if state.records.len() + in_flight >= MOST_RECORDS
            || state.bytes + of_flight + bytes > MOST_BYTES
        {
            state.dropped.queue_full += 1;
            return;
        }
        state.records.push_back(record);
        state.bytes += bytes;
        state.since.get_or_insert_with(Instant::now);
        if matches!(state.records.len(), 1 | BATCH_RECORDS) {
            self.changed.notify_all();
        }
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.lock().dropped
    }

    /// Waits until this time, until a batch is ready if one is wanted, or until the end begins. Returns until when the
    /// rest may be sent, if it has begun.
    pub(super) fn wait(&self, until: Instant, wants_batch: bool) -> Option<Instant> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let ready = state.since.filter(|_| wants_batch).map(|since| self.ready(&state, since));
            let until = ready.map_or(until, |ready| ready.min(until));
            if state.closing.is_some() || until <= now {
                return state.closing;
            }
            let waited = self.changed.wait_timeout(state, until - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the next batch is ready whose first record came at `since`.
    fn ready(&self, state: &State, since: Instant) -> Instant {
        if state.records.len() >= BATCH_RECORDS { since } else { since + self.linger }
    }

    /// Takes a batch if it is ready, or what there is at the end. They count as waiting until [`Self::settle`].
    pub(super) fn take(&self) -> Vec<LogRecord> {
        let mut state = self.lock();
        let is_ready = state.since.is_some_and(|since| self.ready(&state, since) <= Instant::now());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while (is_ready || state.closing.is_some()) && batch.len() < BATCH_RECORDS {
            let Some(size) = state.records.front().map(memory_of) else { break };
            if bytes + size > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            bytes += size;
            batch.extend(state.records.pop_front());
        }
        state.bytes -= bytes;
        if state.records.is_empty() {
            state.since = None;
        }
        state.taken = (batch.len(), bytes);
        batch
    }

    /// The batch is done with, and these of its records did not arrive.
    pub(super) fn settle(&self, dropped: impl FnOnce(&mut Dropped, u64)) {
        let mut state = self.lock();
        let (records, _) = std::mem::take(&mut state.taken);
        dropped(&mut state.dropped, records as u64);
    }

    /// Lets the thread send the rest, and waits for it as long as is given. Returns how many records were not sent.
    pub(super) fn close(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        let mut state = self.lock();
        state.closing.get_or_insert(until);
        self.changed.notify_all();
        while !state.is_finished {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.records.len() + state.taken.0
    }

    /// Nothing more is sent.
    pub(super) fn finished(&self) {
        self.lock().is_finished = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> LogRecord {
        LogRecord { event_name: "x".repeat(bytes), ..LogRecord::default() }
    }

    #[test]
    fn what_finds_no_room_is_counted_also_while_a_batch_is_sent() {
        let queue = Queue::new(Duration::ZERO);
        (0..MOST_RECORDS + 5).for_each(|_| queue.push(record(1)));
        assert_eq!(queue.dropped(), Dropped { queue_full: 5, ..Dropped::default() });
        assert_eq!(queue.take().len(), BATCH_RECORDS);
        queue.push(record(1));
        assert_eq!(queue.dropped().queue_full, 6);
        queue.settle(|dropped, records| dropped.gave_up += records);
        queue.push(record(1));
        let expected = Dropped { queue_full: 6, refused: 0, gave_up: BATCH_RECORDS as u64 };
        assert_eq!(queue.dropped(), expected);
        assert_eq!(queue.dropped().total(), 6 + BATCH_RECORDS as u64);
    }

    #[test]
    fn large_records_fill_it_earlier_and_make_smaller_batches() {
        let queue = Queue::new(Duration::ZERO);
        (0..100).for_each(|_| queue.push(record(100_000)));
        let fit = |bytes: usize| bytes / memory_of(&record(100_000));
        assert_eq!(queue.dropped().queue_full, 100 - fit(MOST_BYTES) as u64);
        assert_eq!(queue.take().len(), fit(BATCH_BYTES));
        queue.settle(|_, _| ());
        assert_eq!(queue.close(Duration::ZERO), fit(MOST_BYTES) - fit(BATCH_BYTES));
    }

    #[test]
    fn one_record_waits_for_others_and_a_full_batch_does_not() {
        let queue = Queue::new(Duration::from_secs(9));
        queue.push(record(1));
        let soon = || Instant::now() + Duration::from_millis(20);
        assert_eq!(queue.wait(soon(), true), None);
        assert!(queue.take().is_empty());
        (1..BATCH_RECORDS).for_each(|_| queue.push(record(1)));
        let began = Instant::now();
        assert_eq!(queue.wait(began + Duration::from_secs(5), true), None);
        assert!(began.elapsed() < Duration::from_secs(4));
        assert_eq!(queue.take().len(), BATCH_RECORDS);
    }
}
