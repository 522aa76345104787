//! A running capture: one thread empties the ring, another thread writes.
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
    queue::{self, Entry, Parcel, Sender},
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
    write: JoinHandle<(Accounts, u64)>,
    /// Records that were written.
    written: Arc<AtomicU64>,
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
        let accounts = Accounts::open(folder, options)?;
        let (sender, receiver) = queue::queue();
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop.0);
        let written = Arc::new(AtomicU64::new(0));
        let writer = Writer { accounts, watcher, undecodable: 0, written: Arc::clone(&written) };
        // The writer names the sources of copies, which can be files of any process.
        let write =
            privileges::spawn("capture-write", Rights::Look, move || writer.run(&receiver))?;
        let work = move || drain(source, sender, &stopped);
        let drain = privileges::spawn("capture-drain", Rights::None, work)?;
        Ok(Self { stop, drain, write, written })
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
        drop(self.stop);
        let (mut seen, mut since) = (0, Instant::now());
        while !self.drain.is_finished() || !self.write.is_finished() {
            let written = self.written.load(Ordering::Relaxed);
            if written != seen {
                (seen, since) = (written, Instant::now());
            }
            if !waits(since.elapsed()) {
                return None;
            }
            thread::sleep(TURN);
        }
        let dropped = join(self.drain);
        let (accounts, undecodable) = join(self.write);
        let summary = accounts.finish(rows);
        Some(Summary { undecodable: undecodable + dropped, ..summary })
    }
}

/// Joins a thread, and passes on its panic.
fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|fault| panic::resume_unwind(fault))
}

/// Empties the ring until it has to stop and the ring is empty. Returns how many of the dropped records could not be
/// decoded.
fn drain(mut source: impl Source, mut sender: Sender, stop: &AtomicBool) -> u64 {
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
            sender.push(batch, stop.load(Ordering::Acquire));
        }
        if is_last {
            return sender.close();
        }
        sender.offer();
    }
}

/// The second thread.
struct Writer {
    accounts: Accounts,
    watcher: Option<Box<dyn Watcher>>,
    undecodable: u64,
    written: Arc<AtomicU64>,
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
                Entry::Gap(gap) => self.account(&gap),
                Entry::Record(record) => match chunk::decode(&record) {
                    Ok(chunk) => self.account(&chunk),
                    Err(_) => self.undecodable += 1,
                },
            }
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
