//! The rings: lifecycle events as an asynchronous stream of raw records, and captured bytes.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use bytes::{Bytes, BytesMut};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::io::unix::AsyncFd;
use tracer_common::{
    event::{Header, kind},
    names,
};
use zerocopy::FromBytes as _;

use crate::{Loader, LoaderError};

/// One record as the kernel wrote it. `tracer_core::event` decodes it.
pub type RawRecord = Bytes;

/// The reader of the event ring. It always empties the ring into a backlog first: to apply one record can take longer
/// than the kernel needs to write many.
pub struct EventRing {
    ring: AsyncFd<RingBuf<MapData>>,
    backlog: Backlog,
    /// Gets each record before it leaves the ring.
    keeper: Option<Keeper>,
}

/// Keeps a record for the time after this process, if it is killed. Returns whether the record is to be taken: false for one
/// that an earlier process has kept.
pub type Keeper = Box<dyn FnMut(&[u8]) -> bool>;

/// Records that were read and not yet applied, in order.
#[derive(Default)]
struct Backlog {
    records: VecDeque<RawRecord>,
    bytes: usize,
    arrived: Arc<Arrived>,
}

/// How many records of the iterators have arrived. Other threads can look at it.
#[derive(Debug, Default)]
pub struct Arrived {
    adopted: AtomicU64,
    holders: AtomicU64,
}

impl Arrived {
    /// Processes that were adopted.
    #[must_use]
    pub fn adopted(&self) -> u64 {
        self.adopted.load(Ordering::Relaxed)
    }

    /// Open files that surveys have found.
    #[must_use]
    pub fn holders(&self) -> u64 {
        self.holders.load(Ordering::Relaxed)
    }

    fn add(&self, record: &[u8]) {
        let Ok((header, _)) = Header::read_from_prefix(record) else { return };
        let counter = match header.kind {
            kind::ADOPTED => &self.adopted,
            kind::HOLDER => &self.holders,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Limit of the backlog in bytes. The records of a hundred thousand processes that are adopted at once fit. If the
/// session falls further behind, the ring fills up, and the programs count the records that find no room.
const BACKLOG_BYTES: usize = 64 << 20;
/// How many records are applied before the ring is emptied again.
const PORTION: usize = 128;

impl Backlog {
    /// Moves everything from the ring to the backlog, up to the limit.
    fn fill(&mut self, ring: &mut RingBuf<MapData>, keeper: &mut Option<Keeper>) {
        while self.bytes < BACKLOG_BYTES {
            let batch = drain(ring, keeper);
            if batch.is_empty() {
                return;
            }
            self.bytes += batch.iter().map(Bytes::len).sum::<usize>();
            batch.iter().for_each(|record| self.arrived.add(record));
            self.records.extend(batch);
        }
    }

    fn take(&mut self) -> Vec<RawRecord> {
        let portion = self.records.len().min(PORTION);
        let taken: Vec<RawRecord> = self.records.drain(..portion).collect();
        self.bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        if self.records.is_empty() {
            // Frees the memory of a long backlog.
            self.records = VecDeque::new();
        }
        taken
    }
}

impl Loader {
    /// Takes the ring out of the loader. Works once, and only inside a tokio runtime.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn take_events(&mut self) -> Result<EventRing, LoaderError> {
        let map = self.bpf.take_map(names::MAP_EVENTS).ok_or(LoaderError::NoObject)?;
        let ring = RingBuf::try_from(map)
            .map_err(|error| LoaderError::map("open", names::MAP_EVENTS, error))?;
        // SAFETY: the ring owns its map's fd and keeps it open and unchanged for its whole life.
        let ring = unsafe { AsyncFd::register(ring) }
            .map_err(|error| LoaderError::map("poll", names::MAP_EVENTS, error))?;
        Ok(EventRing { ring, backlog: Backlog::default(), keeper: None })
    }

    /// Forwards the programs' debug records to `tracing`.
    ///
    /// # Errors
    /// [`LoaderError::Object`] or [`LoaderError::Map`].
    pub fn start_debug_log(&mut self) -> Result<(), LoaderError> {
        let logger = aya_log::EbpfLogger::init(&mut self.bpf)
            .map_err(|error| LoaderError::Object { reason: error.to_string() })?;
        // SAFETY: the logger owns its ring's fd, like the ring above.
        let mut logger = unsafe { AsyncFd::register(logger) }
            .map_err(|error| LoaderError::map("poll", "AYA_LOGS", error))?;
        tokio::spawn(async move {
            while let Ok(mut guard) = logger.readable_mut().await {
                guard.get_inner_mut().flush();
                guard.clear_ready();
            }
        });
        Ok(())
    }
}

/// The reader of the ring of captured bytes, for a thread of its own.
pub struct CaptureRing {
    ring: RingBuf<MapData>,
    /// Whether something was read since the last wait.
    is_busy: bool,
}

/// How long the reader leaves a busy ring alone. It then reads many small records at once, and their writers need not
/// wake it.
const REST: Duration = Duration::from_millis(1);

impl Loader {
    /// Takes the ring of captured bytes out of the loader. Works once.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn take_capture(&mut self) -> Result<CaptureRing, LoaderError> {
        let map = self.bpf.take_map(names::MAP_CAPTURE).ok_or(LoaderError::NoObject)?;
        let ring = RingBuf::try_from(map)
            .map_err(|error| LoaderError::map("open", names::MAP_CAPTURE, error))?;
        Ok(CaptureRing { ring, is_busy: false })
    }
}

impl CaptureRing {
    /// Waits until the ring may have something to read, at most this long.
    ///
    /// # Errors
    /// An error of `poll`.
    pub fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        if std::mem::take(&mut self.is_busy) {
            std::thread::sleep(REST.min(at_most));
            return Ok(());
        }
        let timeout = Timespec::try_from(at_most).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.ring, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what is in the ring, up to [`BATCH_BYTES`].
    pub fn drain(&mut self) -> Vec<RawRecord> {
        let batch = drain(&mut self.ring, &mut None);
        self.is_busy |= !batch.is_empty();
        batch
    }
}

impl EventRing {
    /// Waits for records, then takes at most [`PORTION`] of them.
    ///
    /// # Errors
    /// An error of `epoll`.
    pub async fn next_batch(&mut self) -> std::io::Result<Vec<RawRecord>> {
        if self.backlog.records.is_empty() {
            let mut guard = self.ring.readable_mut().await?;
            self.backlog.fill(guard.get_inner_mut(), &mut self.keeper);
            guard.clear_ready();
        } else {
            // Lets timers and signals run, however long the backlog is.
            tokio::task::yield_now().await;
        }
        Ok(self.drain())
    }

    /// Takes at most [`PORTION`] records without waiting. The result is empty only if there are none.
    pub fn drain(&mut self) -> Vec<RawRecord> {
        self.keep();
        self.backlog.take()
    }

    /// Gives each record to `keeper` before it leaves the ring. If this process is killed in between, the record is both
    /// kept and in the ring.
    pub fn keep_by(&mut self, keeper: Keeper) {
        self.keeper = Some(keeper);
    }

    /// How many records of the iterators have arrived so far.
    #[must_use]
    pub fn arrived(&self) -> Arc<Arrived> {
        Arc::clone(&self.backlog.arrived)
    }

    /// Empties the ring into the backlog.
    pub(crate) fn keep(&mut self) {
        self.backlog.fill(self.ring.get_mut(), &mut self.keeper);
    }
}

/// How many bytes are read at once, into one allocation of which each record is a slice. It limits the memory of a
/// batch if the kernel writes faster than tracer reads.
const BATCH_BYTES: usize = 1 << 20;

fn drain(ring: &mut RingBuf<MapData>, keeper: &mut Option<Keeper>) -> Vec<RawRecord> {
    let mut buffer = BytesMut::new();
    let mut lengths = Vec::new();
    while buffer.len() < BATCH_BYTES {
        let Some(record) = ring.next() else { break };
        if let Some(keep) = keeper
            && !keep(&record)
        {
            continue;
        }
        buffer.extend_from_slice(&record);
        lengths.push(record.len());
    }
    let mut all = buffer.freeze();
    lengths.into_iter().map(|length| all.split_to(length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_taken_in_order_and_in_portions() {
        let records = (0..PORTION + 3).map(|number| Bytes::from(vec![0; number]));
        let records: VecDeque<RawRecord> = records.collect();
        let bytes = records.iter().map(Bytes::len).sum();
        let mut backlog = Backlog { records, bytes, ..Backlog::default() };
        let lengths = |batch: Vec<RawRecord>| batch.iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(lengths(backlog.take()), (0..PORTION).collect::<Vec<_>>());
        assert_eq!(lengths(backlog.take()), (PORTION..PORTION + 3).collect::<Vec<_>>());
        assert_eq!((backlog.take().len(), backlog.bytes), (0, 0));
    }

    #[test]
    fn records_of_the_iterators_are_counted_by_kind() {
        let arrived = Arrived::default();
        for kind in [kind::ADOPTED, kind::HOLDER, kind::FORK, kind::ADOPTED] {
            let record = [&[0; 8][..], &kind.to_ne_bytes(), &[0; 4]].concat();
            arrived.add(&record);
        }
        arrived.add(b"short");
        assert_eq!((arrived.adopted(), arrived.holders()), (2, 1));
    }
}
