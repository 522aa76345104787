//! The queue between the ring and the disk: bounded, and what does not fit is a gap of known length.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
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

/// Bytes of records that wait or are being written.
pub(super) const ROOM: usize = 32 << 20;
/// Parcels that wait; when there are more, small ones are joined.
const SLOTS: usize = 64;
/// What a record costs beside its bytes.
const OVERHEAD: usize = 64;
/// Gaps that are remembered while there is no room: one for each row and reason.
const GAPS: usize = 4096;
/// How long to wait for room, where waiting is the only way.
const PAUSE: Duration = Duration::from_millis(2);

/// One thing for the writer.
#[derive(Debug)]
pub(super) enum Entry {
    /// A record of the ring.
    Record(Bytes),
    /// What was dropped for want of room.
    Gap(Box<Chunk>),
}

/// What the writer gets at once. Its memory counts as used until it is dropped.
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

/// The end that the ring is emptied into.
pub(super) struct Inlet {
    queue: SyncSender<Parcel>,
    load: Arc<AtomicUsize>,
    /// What found no slot yet.
    waiting: Option<Parcel>,
    dropped: BTreeMap<(LedgerKey, Reason), Chunk>,
    undecodable: u64,
}

/// The end that the writer takes from.
pub(super) struct Outlet {
    queue: Receiver<Parcel>,
}

/// Both ends of a new queue.
pub(super) fn queue() -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::sync_channel(SLOTS);
    let inlet = Inlet {
        queue: sender,
        load: Arc::new(AtomicUsize::new(0)),
        waiting: None,
        dropped: BTreeMap::new(),
        undecodable: 0,
    };
    (inlet, Outlet { queue: receiver })
}

impl Outlet {
    /// The next parcel.
    pub(super) fn next(&self, at_most: Duration) -> Result<Parcel, RecvTimeoutError> {
        self.queue.recv_timeout(at_most)
    }
}

impl Inlet {
    /// Puts a batch in. Without room it becomes gaps, unless `may_wait`.
    pub(super) fn push(&mut self, batch: Vec<Bytes>, may_wait: bool) {
        let cost = batch.iter().map(|record| record.len() + OVERHEAD).sum();
        while !self.has_room(cost) {
            // So many gaps would be memory without bounds: then the ring runs full, which the kernel
            // counts.
            if !may_wait && self.dropped.len() < GAPS {
                return batch.iter().for_each(|record| self.drop_record(record));
            }
            self.offer();
            thread::sleep(PAUSE);
        }
        self.put_gaps();
        self.put(batch.into_iter().map(Entry::Record), cost);
        self.offer();
    }

    /// Tries again to hand over what found no slot, gaps included.
    pub(super) fn offer(&mut self) {
        // While there is hardly room they may still grow together.
        if self.load.load(Ordering::Relaxed) <= ROOM / 2 {
            self.put_gaps();
        }
        let Some(parcel) = self.waiting.take() else { return };
        // When the writer is gone the parcel is dropped: there is nobody to tell.
        if let Err(TrySendError::Full(parcel)) = self.queue.try_send(parcel) {
            self.waiting = Some(parcel);
        }
    }

    /// Hands over the rest, however long it takes. Says how many of the dropped records could not be
    /// understood.
    pub(super) fn close(mut self) -> u64 {
        self.put_gaps();
        if let Some(parcel) = self.waiting.take() {
            // As above.
            let _ = self.queue.send(parcel);
        }
        self.undecodable
    }

    /// A batch that is larger than all the room goes in when nothing else is there.
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
        if self.dropped.is_empty() {
            return;
        }
        let mut gaps: Vec<Chunk> = std::mem::take(&mut self.dropped).into_values().collect();
        gaps.sort_by_key(|gap| gap.time_ns);
        let cost = gaps.len() * size_of::<Chunk>();
        self.put(gaps.into_iter().map(|gap| Entry::Gap(Box::new(gap))), cost);
    }

    /// Keeps a record's length and reason only.
    fn drop_record(&mut self, record: &Bytes) {
        let Ok(mut chunk) = chunk::decode(record) else {
            self.undecodable += 1;
            return;
        };
        let length = chunk.length();
        let (reason, source) = match chunk.content {
            Content::Bytes(_) => (Reason::SlowOutput, None),
            Content::Missing { reason, source, .. } => (reason, source),
        };
        chunk.content = Content::Missing { length, reason, source };
        match self.dropped.get_mut(&(chunk.key, reason)) {
            Some(gap) => join(gap, &chunk),
            None => {
                self.dropped.insert((chunk.key, reason), chunk);
            }
        }
    }
}

/// Adds a gap to one of the same row and reason.
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

    /// A queue that has no room until the outlet is used.
    fn full() -> (Inlet, Outlet) {
        let (mut inlet, outlet) = queue();
        inlet.push(vec![Bytes::from(record(&key(0), 0, &vec![b'.'; ROOM]))], false);
        (inlet, outlet)
    }

    /// What comes out when the other end is closed: row, length, reason, lost.
    fn rest(outlet: &Outlet) -> Vec<(i32, u64, Option<Reason>, u64)> {
        let mut rest = Vec::new();
        while let Ok(mut parcel) = outlet.next(Duration::from_secs(9)) {
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
        let (mut inlet, outlet) = full();
        for lost in [3, 9, 5] {
            inlet.push(vec![Bytes::from(record(&key(1), lost, b"abc"))], false);
            inlet.push(vec![Bytes::from(copied(&key(1), 40)), Bytes::from_static(b"junk")], false);
            inlet.push(vec![Bytes::from(record(&key(2), 0, b"defg"))], false);
        }
        inlet.offer();
        assert_eq!(inlet.dropped.len(), 3);
        assert_eq!(inlet.close(), 3, "records that could not be understood");
        let expected = [
            (0, ROOM as u64, None, 0),
            (1, 120, Some(Reason::Copied), 0),
            (1, 9, Some(Reason::SlowOutput), 9),
            (2, 12, Some(Reason::SlowOutput), 0),
        ];
        assert_eq!(rest(&outlet), expected);
    }

    #[test]
    fn gaps_come_before_what_fits_again() {
        let (mut inlet, outlet) = full();
        inlet.push(vec![Bytes::from(record(&key(1), 0, b"abc"))], false);
        drop(outlet.next(Duration::from_secs(9)).unwrap());
        inlet.push(vec![Bytes::from(record(&key(1), 0, b"defg"))], false);
        inlet.close();
        assert_eq!(rest(&outlet), [(1, 3, Some(Reason::SlowOutput), 0), (1, 4, None, 0)]);
    }

    #[test]
    fn too_many_gaps_wait_for_room_instead_of_taking_memory() {
        let (mut inlet, outlet) = full();
        for fd in 1..=GAPS as i32 {
            inlet.push(vec![Bytes::from(record(&key(fd), 0, b"abc"))], false);
        }
        assert_eq!(inlet.dropped.len(), GAPS);
        let waits = thread::spawn(move || {
            inlet.push(vec![Bytes::from(record(&key(-1), 0, b"abc"))], false);
            inlet.close();
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!waits.is_finished());
        let rest = rest(&outlet);
        waits.join().unwrap();
        assert_eq!(rest.len(), GAPS + 2);
        assert_eq!(rest.last(), Some(&(-1, 3, None, 0)));
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_gone() {
        let (mut inlet, outlet) = full();
        drop(outlet);
        inlet.push(vec![Bytes::from(record(&key(1), 0, b"abc"))], true);
        assert_eq!(inlet.close(), 0);
    }
}
