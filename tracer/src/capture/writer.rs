//! A running capture: one thread empties the ring, another thread writes.
//!
//! In tracer the first thread also feeds the [process](super::process) that has the folder, and the second one only shows.
//! In that process the ring is the socket to tracer, and the second thread stores.
//!
//! The first thread never waits for the second. A record that does not fit into the queue between them becomes a gap.
//! So a slow disk or terminal costs captured bytes, but neither memory nor counts.

use std::{
    io, panic,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracer_common::ledger::{LedgerKey, LedgerRow};
use tracer_core::capture::{
    Reason,
    chunk::{self, Chunk, Content},
    summary::Summary,
};

use super::{
    Options,
    accounts::Accounts,
    folder::Folder,
    process::Feed,
    queue::{self, Entry, Gaps, Parcel, Sender},
};
use crate::sys::privileges::{self, Rights};

#[cfg(test)]
mod tests;

/// How long to wait for the ring. A capture notices after this time that it has to stop.
const WAIT: Duration = Duration::from_millis(100);
/// After this long without a record, the live view shows partial lines.
const IDLE: Duration = Duration::from_millis(200);
/// How often [`Capture::finish`] looks whether everything is written.
const TURN: Duration = Duration::from_millis(1);
/// How often the index is flushed. A killed run loses at most this much of it.
const FLUSH: Duration = Duration::from_secs(1);

/// A source of records: the ring.
pub trait Source: Send {
    /// Waits until there is a record, at most for this long.
    ///
    /// # Errors
    /// Errors of the system. The caller reads the ring nevertheless.
    fn wait(&mut self, at_most: Duration) -> io::Result<()>;

    /// Takes records, about 1 MiB at most, as slices of one buffer. Empty if the ring is empty.
    fn drain(&mut self) -> Vec<Bytes>;
}

/// Gets everything that is captured while it is captured: the live view.
pub trait Watcher: Send {
    /// A chunk, whether it is kept or not. Bytes that found no room in the ring are chunks as well, with
    /// [`Reason::RingFull`] and a `lost` of 0, so [`Chunk::lost`] can be ignored.
    fn see(&mut self, chunk: &Chunk);
    /// There was no record for [`IDLE`]: partial lines can be shown.
    fn idle(&mut self);
    /// No further chunk follows.
    fn end(&mut self);
}

/// A capture that runs.
pub struct Capture {
    stop: Stop,
    drain: JoinHandle<u64>,
    /// `None` if this process neither stores nor shows.
    write: Option<JoinHandle<(Accounts, u64)>>,
    /// Records that were written.
    written: Arc<AtomicU64>,
    /// Whether there is no time left to store bytes.
    cut: Arc<AtomicBool>,
}

/// Stops the threads when it is dropped, so that a run that fails elsewhere leaves no thread behind.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Capture {
    /// Starts both threads. Without a folder nothing is stored, and no limit applies.
    ///
    /// # Errors
    /// [`super::folder::FolderError`] if the index cannot be created; an error if a thread cannot be started.
    pub fn start(
        source: impl Source + 'static,
        folder: Option<Folder>,
        options: Options,
        watcher: Option<Box<dyn Watcher>>,
    ) -> io::Result<Self> {
        Self::run(source, None, Some((Accounts::open(folder, options)?, watcher)))
    }

    /// Starts the thread that feeds the process of the folder, and one for the live view if there is a watcher.
    ///
    /// # Errors
    /// An error if a thread cannot be started.
    pub fn feed(
        source: impl Source + 'static,
        feed: Feed,
        watcher: Option<Box<dyn Watcher>>,
    ) -> io::Result<Self> {
        let shown = watcher
            .map(|it| Ok::<_, io::Error>((Accounts::open(None, Options::default())?, Some(it))));
        Self::run(source, Some(feed), shown.transpose()?)
    }

    fn run(
        source: impl Source + 'static,
        feed: Option<Feed>,
        here: Option<(Accounts, Option<Box<dyn Watcher>>)>,
    ) -> io::Result<Self> {
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let (stopped, written) = (Arc::clone(&stop.0), Arc::new(AtomicU64::new(0)));
        let cut = Arc::<AtomicBool>::default();
        let mut sink = Sink { feed, queue: None, sent: Arc::clone(&written) };
        let write = here.map(|(accounts, watcher)| {
            let (sender, receiver) = queue::queue();
            sink.queue = Some(sender);
            let (written, cut) = (Arc::clone(&written), Arc::clone(&cut));
            let left = Gaps::default();
            let writer = Writer { accounts, watcher, undecodable: 0, written, cut, left };
            // The writer names the sources of copies, which can be files of any process.
            privileges::spawn("capture-write", Rights::Look, move || writer.run(&receiver))
        });
        let write = write.transpose()?;
        let work = move || drain(source, sink, &stopped);
        let drain = privileges::spawn("capture-drain", Rights::None, work)?;
        Ok(Self { stop, drain, write, written, cut })
    }

    /// Set it when there is no time left to store bytes: records that wait then become gaps.
    pub(super) fn cut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }

    /// Takes the rest, waits until it is written, and closes the accounts. The hooks must be detached. `rows` is
    /// every write row of the ledger whose bytes were captured. `waits` is asked with the time since the latest record
    /// was written; `None` if it ends the wait.
    #[must_use]
    pub fn finish(
        self,
        rows: Vec<(LedgerKey, LedgerRow)>,
        mut waits: impl FnMut(Duration) -> bool,
    ) -> Option<Summary> {
        let (dropped, written) = self.join(&mut waits)?;
        let (accounts, undecodable) = written?;
        let summary = accounts.finish(rows, || {
            let _ = waits(Duration::ZERO);
        });
        Some(Summary { undecodable: undecodable + dropped, ..summary })
    }

    /// Takes the rest and writes it, and leaves the accounts open as in a run that was killed. Whether `waits` did not end
    /// the wait.
    pub fn stop(self, mut waits: impl FnMut(Duration) -> bool) -> bool {
        let Some((_, written)) = self.join(&mut waits) else { return false };
        if let Some((mut accounts, _)) = written {
            accounts.flush();
        }
        true
    }

    /// Ends both threads. Returns how many dropped records could not be decoded, and what the writer returns.
    fn join(
        self,
        waits: &mut dyn FnMut(Duration) -> bool,
    ) -> Option<(u64, Option<(Accounts, u64)>)> {
        drop(self.stop);
        let (mut seen, mut since) = (0, Instant::now());
        let writes = |write: &JoinHandle<_>| !write.is_finished();
        while !self.drain.is_finished() || self.write.as_ref().is_some_and(writes) {
            let written = self.written.load(Ordering::Relaxed);
            if written != seen {
                (seen, since) = (written, Instant::now());
            }
            if !waits(since.elapsed()) {
                return None;
            }
            thread::sleep(TURN);
        }
        Some((join(self.drain), self.write.map(join)))
    }
}

/// Where the first thread sends the records.
struct Sink {
    feed: Option<Feed>,
    queue: Option<Sender>,
    /// Records that the feed took.
    sent: Arc<AtomicU64>,
}

impl Sink {
    fn push(&mut self, batch: Vec<Bytes>, may_wait: bool) {
        if let Some(feed) = &mut self.feed {
            feed.push(&batch);
            self.sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        if let Some(queue) = &mut self.queue {
            queue.push(batch, may_wait);
        }
    }

    fn offer(&mut self) {
        if let Some(feed) = &self.feed {
            feed.offer();
        }
        if let Some(queue) = &mut self.queue {
            queue.offer();
        }
    }

    /// Sends the rest. Returns how many of the dropped records could not be decoded.
    fn close(self) -> u64 {
        self.queue.map_or(0, Sender::close)
    }
}

/// Joins a thread, and passes on its panic.
fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|fault| panic::resume_unwind(fault))
}

/// Empties the ring until it has to stop and the ring is empty. Returns how many of the dropped records could not be
/// decoded.
fn drain(mut source: impl Source, mut sink: Sink, stop: &AtomicBool) -> u64 {
    let mut is_told = false;
    loop {
        // This is read before the ring is emptied, so that nothing is left in the ring at the end.
        let is_last = stop.load(Ordering::Acquire);
        if !is_last && let Err(error) = source.wait(WAIT) {
            if !is_told {
                tracing::warn!("cannot wait for the capture ring: {error}; it is polled instead");
                is_told = true;
            }
            thread::sleep(WAIT);
        }
        loop {
            let batch = source.drain();
            if batch.is_empty() {
                break;
            }
            // After the hooks are detached no new records come, so waiting is possible.
            sink.push(batch, stop.load(Ordering::Acquire));
        }
        if is_last {
            return sink.close();
        }
        sink.offer();
    }
}

/// The second thread.
struct Writer {
    accounts: Accounts,
    watcher: Option<Box<dyn Watcher>>,
    undecodable: u64,
    written: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
    /// What there was no time left for.
    left: Gaps,
}

impl Writer {
    /// Writes until the other end is closed. Returns the accounts, and how many records could not be decoded.
    fn run(mut self, receiver: &Receiver<Parcel>) -> (Accounts, u64) {
        let mut flushed = Instant::now();
        let mut is_idle = false;
        loop {
            match receiver.recv_timeout(IDLE) {
                Ok(parcel) => {
                    is_idle = false;
                    self.take(parcel);
                    if flushed.elapsed() >= FLUSH {
                        self.accounts.flush();
                        flushed = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Timeout) if is_idle => {}
                Err(RecvTimeoutError::Timeout) => {
                    is_idle = true;
                    self.accounts.flush();
                    self.watch(|watcher| watcher.idle());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.left.take().iter().for_each(|gap| self.account(gap));
                    self.watch(|watcher| watcher.end());
                    return (self.accounts, self.undecodable);
                }
            }
        }
    }

    fn take(&mut self, mut parcel: Parcel) {
        for entry in parcel.entries.drain(..) {
            self.written.fetch_add(1, Ordering::Relaxed);
            match entry {
                Entry::Gap(gap) => self.account_in_time(*gap),
                Entry::Record(record) => match chunk::decode(&record) {
                    Ok(chunk) => self.account_in_time(chunk),
                    Err(_) => self.undecodable += 1,
                },
            }
        }
    }

    fn account_in_time(&mut self, chunk: Chunk) {
        if self.cut.load(Ordering::Relaxed) {
            self.left.add(chunk);
        } else {
            self.account(&chunk);
        }
    }

    fn account(&mut self, chunk: &Chunk) {
        let lost = self.accounts.take(chunk);
        if lost > 0 {
            let reason = Reason::RingFull;
            let content = Content::Missing { length: lost, reason, source: None };
            let gap = Chunk { content, lost: 0, ..chunk.clone() };
            self.watch(|watcher| watcher.see(&gap));
        }
        self.watch(|watcher| watcher.see(chunk));
    }

    fn watch(&mut self, show: impl FnOnce(&mut dyn Watcher)) {
        if let Some(watcher) = &mut self.watcher {
            show(watcher.as_mut());
        }
    }
}
