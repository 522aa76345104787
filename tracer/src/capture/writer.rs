//! A running capture: one thread empties the ring, another one writes.
//!
//! The first thread never waits for the second: what finds no room in the queue between them becomes a
//! gap. So a slow disk or terminal costs bytes of the capture, never memory, and never a count.

use std::{
    io, panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
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
    queue::{self, Entry, Inlet, Outlet, Parcel},
};
use crate::sys::privileges::{self, Rights};

#[cfg(test)]
mod tests;

/// How long the ring is waited for; a capture that is to stop notices it after that time.
const WAIT: Duration = Duration::from_millis(100);
/// Nothing new for so long is a pause.
const IDLE: Duration = Duration::from_millis(200);
/// What a killed run loses of its index at most.
const FLUSH: Duration = Duration::from_secs(1);

/// Where records come from: the ring.
pub trait Source: Send {
    /// Waits until there is a record, or for as long as said.
    ///
    /// # Errors
    /// Of the system; the ring is looked at nevertheless.
    fn wait(&mut self, at_most: Duration) -> io::Result<()>;

    /// Takes records, about 1 MiB at most, as slices of one buffer; none when the ring is empty.
    fn drain(&mut self) -> Vec<Bytes>;
}

/// Sees what is captured while it happens: the live view.
pub trait Watcher: Send {
    /// A chunk, whether it is kept or not. Bytes that found no room in the ring are chunks too, with
    /// [`Reason::RingFull`] and a `lost` of 0; there is no need to look at [`Chunk::lost`].
    fn see(&mut self, chunk: &Chunk);
    /// Nothing new for a while: partial lines can be shown.
    fn idle(&mut self);
    /// Nothing will follow.
    fn end(&mut self);
}

/// A capture that runs.
pub struct Capture {
    stop: Stop,
    drain: JoinHandle<u64>,
    write: JoinHandle<(Accounts, u64)>,
}

/// Stops the threads when it is dropped, so that a run that fails elsewhere leaves none behind.
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
    /// When the index cannot be made ([`super::folder::FolderError`]) or a thread cannot be started.
    pub fn start(
        source: impl Source + 'static,
        folder: Option<Folder>,
        options: Options,
        watcher: Option<Box<dyn Watcher>>,
    ) -> io::Result<Self> {
        let accounts = Accounts::open(folder, options)?;
        let (inlet, outlet) = queue::queue();
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop.0);
        let writer = Writer { accounts, watcher, undecodable: 0 };
        // It names what was copied from: files of any process.
        let write = privileges::spawn("capture-write", Rights::Look, move || writer.run(&outlet))?;
        let work = move || drain(source, inlet, &stopped);
        let drain = privileges::spawn("capture-drain", Rights::None, work)?;
        Ok(Self { stop, drain, write })
    }

    /// After the hooks are detached: takes the rest, waits until it is written, and closes the accounts.
    /// `rows` is every write row of the ledger that was to be captured.
    #[must_use]
    pub fn finish(self, rows: Vec<(LedgerKey, LedgerRow)>) -> Summary {
        drop(self.stop);
        let dropped = join(self.drain);
        let (accounts, undecodable) = join(self.write);
        let summary = accounts.finish(rows);
        Summary { undecodable: undecodable + dropped, ..summary }
    }
}

/// A fault of a thread is a fault of the program: it goes on where the thread is joined.
fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|fault| panic::resume_unwind(fault))
}

/// Empties the ring until it is told to stop and nothing is left. Says how many of the records that it
/// dropped could not be understood.
fn drain(mut source: impl Source, mut inlet: Inlet, stop: &AtomicBool) -> u64 {
    let mut is_told = false;
    loop {
        // Asked before the ring is emptied: whatever was in it at the stop is taken.
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
            // Once nobody writes any more there is time.
            inlet.push(batch, stop.load(Ordering::Acquire));
        }
        if is_last {
            return inlet.close();
        }
        inlet.offer();
    }
}

/// The second thread.
struct Writer {
    accounts: Accounts,
    watcher: Option<Box<dyn Watcher>>,
    undecodable: u64,
}

impl Writer {
    /// Writes until the other end is closed. Gives the accounts, and how many records could not be
    /// understood.
    fn run(mut self, outlet: &Outlet) -> (Accounts, u64) {
        let mut flushed = Instant::now();
        let mut is_idle = false;
        loop {
            match outlet.next(IDLE) {
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
            match entry {
                Entry::Gap(gap) => self.book(&gap),
                Entry::Record(record) => match chunk::decode(&record) {
                    Ok(chunk) => self.book(&chunk),
                    Err(_) => self.undecodable += 1,
                },
            }
        }
    }

    fn book(&mut self, chunk: &Chunk) {
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
