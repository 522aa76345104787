//! The queue between the ring and the disk. It is bounded. A record that does not fit becomes a gap of known length.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tracer_common::ledger::LedgerKey;
use tracer_core::capture::{
    Reason,
    chunk::{self, Chunk, Content},
};

/// Limit of the queue in bytes, including what is being written.
pub(super) const ROOM: usize = 32 << 20;
/// How many parcels can wait. If there are more, small ones are joined.
const SLOTS: usize = 64;
/// Memory that a record takes beside its bytes.
const OVERHEAD: usize = 64;
/// How many gaps are kept while the queue is full: one for each row and reason.
const GAPS: usize = 4096;
/// How long to wait before the queue is checked again.
const PAUSE: Duration = Duration::from_millis(2);

/// A record or a gap for the writer.
#[derive(Debug)]
pub(super) enum Entry {
    /// A record of the ring.
    Record(Bytes),
    /// Records that were dropped because the queue was full.
    Gap(Box<Chunk>),
}

/// What the writer takes at once. Its memory counts until it is dropped.
#[derive(Debug)]
pub(super) struct Parcel {
    /// In the order in which they came.
    pub(super) entries: Vec<Entry>,
    cost: usize,
    load: Arc<AtomicUsize>,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.load.fetch_sub(self.cost, Ordering::Relaxed);
    }
}

/// The end that gets the records of the ring.
pub(super) struct Sender {
    queue: SyncSender<Parcel>,
    load: Arc<AtomicUsize>,
    /// A parcel that does not fit into the channel yet.
    waiting: Option<Parcel>,
    dropped: Gaps,
    undecodable: u64,
}

/// Both ends of a new queue.
pub(super) fn queue() -> (Sender, Receiver<Parcel>) {
    let (queue, receiver) = mpsc::sync_channel(SLOTS);
    let sender = Sender {
        queue,
        load: Arc::new(AtomicUsize::new(0)),
        waiting: None,
        dropped: Gaps::default(),
        undecodable: 0,
    };
    (sender, receiver)
}

impl Sender {
    /// Adds a batch. If the queue is full, the batch becomes gaps, unless `may_wait` is true.
    pub(super) fn push(&mut self, batch: Vec<Bytes>, may_wait: bool) {
        let cost = batch.iter().map(|record| record.len() + OVERHEAD).sum();
        while !self.has_room(cost) {
            // More gaps would take memory without limit. While this waits, the ring fills up, and the kernel counts
            // what it drops.
            if !may_wait && self.dropped.0.len() < GAPS {
                return batch.iter().for_each(|record| self.drop_record(record));
            }
            self.offer();
            thread::sleep(PAUSE);
        }
        self.put_gaps();
        self.put(batch.into_iter().map(Entry::Record), cost);
        self.offer();
    }

    /// Tries again to send what did not fit, gaps included.
    pub(super) fn offer(&mut self) {
        // In a queue that is nearly full, gaps wait so that they can be joined with later ones.
        if self.load.load(Ordering::Relaxed) <= ROOM / 2 {
            self.put_gaps();
        }
        let Some(parcel) = self.waiting.take() else { return };
        // If the writer is gone, the parcel is dropped.
        if let Err(TrySendError::Full(parcel)) = self.queue.try_send(parcel) {
            self.waiting = Some(parcel);
        }
    }

    /// Sends the rest and waits as long as that takes. Returns how many of the dropped records could not be decoded.
    pub(super) fn close(mut self) -> u64 {
        self.put_gaps();
        if let Some(parcel) = self.waiting.take() {
            // This fails only if the writer is gone.
            let _ = self.queue.send(parcel);
        }
        self.undecodable
    }

    /// Whether a batch fits. A batch that is larger than the limit fits into an empty queue.
    fn has_room(&self, cost: usize) -> bool {
        let load = self.load.load(Ordering::Relaxed);
        load == 0 || load + cost <= ROOM
    }

    fn put(&mut self, entries: impl Iterator<Item = Entry>, cost: usize) {
        let parcel = self.waiting.get_or_insert_with(|| Parcel {
            entries: Vec::new(),
            cost: 0,
            load: Arc::clone(&self.load),
        });
        self.load.fetch_add(cost, Ordering::Relaxed);
        parcel.cost += cost;
        parcel.entries.extend(entries);
    }

    fn put_gaps(&mut self) {
        if self.dropped.0.is_empty() {
            return;
        }
        let gaps = self.dropped.take();
        let cost = gaps.len() * size_of::<Chunk>();
        self.put(gaps.into_iter().map(|gap| Entry::Gap(Box::new(gap))), cost);
    }

    /// Keeps only the length of a record, and the reason why it was dropped.
    fn drop_record(&mut self, record: &Bytes) {
        let Ok(chunk) = chunk::decode(record) else {
            self.undecodable += 1;
            return;
        };
        self.dropped.add(chunk);
    }
}

/// Chunks whose bytes disk or terminal were too slow for: one gap for each row and reason.
#[derive(Default)]
pub(super) struct Gaps(BTreeMap<(LedgerKey, Reason), Chunk>);

impl Gaps {
    /// Adds a chunk, without its bytes.
    pub(super) fn add(&mut self, mut chunk: Chunk) {
        let length = chunk.length();
        let (reason, source) = match chunk.content {
            Content::Bytes(_) => (Reason::SlowOutput, None),
            Content::Missing { reason, source, .. } => (reason, source),
        };
        chunk.content = Content::Missing { length, reason, source };
        match self.0.get_mut(&(chunk.key, reason)) {
            Some(gap) => join(gap, &chunk),
            None => {
                self.0.insert((chunk.key, reason), chunk);
            }
        }
    }

    /// Takes them, in the order of time.
    pub(super) fn take(&mut self) -> Vec<Chunk> {
        let mut gaps: Vec<Chunk> = std::mem::take(&mut self.0).into_values().collect();
        gaps.sort_by_key(|gap| gap.time_ns);
        gaps
    }
}

/// Adds a gap to a gap of the same row and reason.
fn join(gap: &mut Chunk, more: &Chunk) {
    gap.time_ns = gap.time_ns.max(more.time_ns);
    gap.lost = gap.lost.max(more.lost);
    if let (
        Content::Missing { length, source, .. },
        Content::Missing { length: more, source: other, .. },
    ) = (&mut gap.content, &more.content)
    {
        *length = length.saturating_add(*more);
        if source != other {
            *source = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sample::{copied, key, record};

    /// A queue that is full until the receiver is used.
    fn full() -> (Sender, Receiver<Parcel>) {
        let (mut sender, receiver) = queue();
        sender.push(vec![Bytes::from(record(&key(0), 0, &vec![b'.'; ROOM]))], false);
        (sender, receiver)
    }

    /// What the receiver gets after the other end was closed: fd, length, reason and lost bytes.
    fn rest(receiver: &Receiver<Parcel>) -> Vec<(i32, u64, Option<Reason>, u64)> {
        let mut rest = Vec::new();
        while let Ok(mut parcel) = receiver.recv_timeout(Duration::from_secs(9)) {
            for entry in parcel.entries.drain(..) {
                let chunk = match entry {
                    Entry::Record(record) => chunk::decode(&record).unwrap(),
                    Entry::Gap(gap) => *gap,
                };
                let reason = match chunk.content {
                    Content::Bytes(_) => None,
                    Content::Missing { reason, .. } => Some(reason),
                };
                rest.push((chunk.key.fd, chunk.length(), reason, chunk.lost));
            }
        }
        rest
    }

    #[test]
    fn what_finds_no_room_is_one_gap_for_each_row_and_reason() {
        let (mut sender, receiver) = full();
        for lost in [3, 9, 5] {
            sender.push(vec![Bytes::from(record(&key(1), lost, b"abc"))], false);
            sender.push(vec![Bytes::from(copied(&key(1), 40)), Bytes::from_static(b"junk")], false);
            sender.push(vec![Bytes::from(record(&key(2), 0, b"defg"))], false);
        }
        sender.offer();
        assert_eq!(sender.dropped.0.len(), 3);
        assert_eq!(sender.close(), 3, "records that could not be understood");
        let expected = [
            (0, ROOM as u64, None, 0),
            (1, 120, Some(Reason::Copied), 0),
            (1, 9, Some(Reason::SlowOutput), 9),
            (2, 12, Some(Reason::SlowOutput), 0),
        ];
        assert_eq!(rest(&receiver), expected);
    }

    #[test]
    fn gaps_come_before_what_fits_again() {
        let (mut sender, receiver) = full();
        sender.push(vec![Bytes::from(record(&key(1), 0, b"abc"))], false);
        drop(receiver.recv_timeout(Duration::from_secs(9)).unwrap());
        sender.push(vec![Bytes::from(record(&key(1), 0, b"defg"))], false);
        sender.close();
        assert_eq!(rest(&receiver), [(1, 3, Some(Reason::SlowOutput), 0), (1, 4, None, 0)]);
    }

    #[test]
    fn too_many_gaps_wait_for_room_instead_of_taking_memory() {
        let (mut sender, receiver) = full();
        for fd in 1..=GAPS as i32 {
            sender.push(vec![Bytes::from(record(&key(fd), 0, b"abc"))], false);
        }
        assert_eq!(sender.dropped.0.len(), GAPS);
        let waits = thread::spawn(move || {
            sender.push(vec![Bytes::from(record(&key(-1), 0, b"abc"))], false);
            sender.close();
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!waits.is_finished());
        let rest = rest(&receiver);
        waits.join().unwrap();
        assert_eq!(rest.len(), GAPS + 2);
        assert_eq!(rest.last(), Some(&(-1, 3, None, 0)));
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_gone() {
        let (mut sender, receiver) = full();
        drop(receiver);
        sender.push(vec![Bytes::from(record(&key(1), 0, b"abc"))], true);
        assert_eq!(sender.close(), 0);
    }
}
