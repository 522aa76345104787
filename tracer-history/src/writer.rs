//! Takes entries without making anybody wait, and writes them on a thread of its own.

mod attached;
mod files;
mod queue;
mod stand;
#[cfg(test)]
mod tests;
mod work;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use self::stand::Stand;
use self::{
    attached::Before,
    queue::{Message, Queue},
    work::Work,
};
use crate::{Entry, Gap, HistoryError, folder::Folder};

/// What may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files whose day ended longer ago are removed.
    pub age: Duration,
    /// Bytes of all files. Above it the oldest are removed, but never those that are being written.
    pub bytes: u64,
    /// Bytes of one file, after which the next one is begun. At most a quarter of `bytes` counts.
    pub file_bytes: u64,
    /// Entries that wait to be written.
    pub queue_entries: usize,
    /// Their bytes.
    pub queue_bytes: usize,
}

impl Default for Limits {
    /// 30 days, 1 GiB in files of 64 MiB, and a queue of 8,192 entries and 32 MiB.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 86_400),
            bytes: 1 << 30,
            file_bytes: 64 << 20,
            queue_entries: 8192,
            queue_bytes: 32 << 20,
        }
    }
}

/// Writes a history. Its thread ends after [`Writer::close`], or when the writer is dropped and all is written.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    stand: Arc<Mutex<Stand>>,
}

impl Writer {
    /// Opens or makes the folder (mode 0700), and starts the thread. Old files are looked at by the thread.
    ///
    /// # Errors
    /// [`HistoryError`] if the folder cannot be used, if another process writes to it, or if there is no thread.
    pub fn start(folder: &Path, limits: Limits) -> Result<Self, HistoryError> {
        Self::start_on(folder, limits, |work| {
            thread::Builder::new().name("history".into()).spawn(work)
        })
    }

    /// The same with a thread that the caller starts, for example with fewer rights.
    ///
    /// # Errors
    /// As [`Writer::start`].
    pub fn start_on(
        folder: &Path,
        limits: Limits,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
    ) -> Result<Self, HistoryError> {
        let folder = Folder::open(folder)?;
        let queue = Arc::new(Queue::new(limits.queue_entries, limits.queue_bytes));
        let of_thread = Arc::clone(&queue);
        let stand = Arc::<Mutex<Stand>>::default();
        let told = Arc::clone(&stand);
        let work = Box::new(move || Work::new(folder, limits, told).run(&of_thread));
        spawn(work).map_err(HistoryError::Thread)?;
        Ok(Self { queue, stand })
    }

    /// Adds a command. If there is no room for it, it is counted, and becomes a gap.
    pub fn add(&self, entry: Entry) {
        self.queue.add(entry);
    }

    /// Adds a gap.
    pub fn gap(&self, gap: Gap) {
        self.queue.push(Message::Gap(gap));
    }

    /// tracer is attached from this time on, in µs since 1970. The time since the previous coverage becomes a gap.
    pub fn attached(&self, scope: &str, at_us: i64) {
        self.begins(scope, at_us, Before::NotAttached(None));
    }

    /// The same, and a reason of the caller for the gap.
    pub fn attached_because(&self, scope: &str, at_us: i64, reason: &str) {
        self.begins(scope, at_us, Before::NotAttached(Some(reason.to_owned())));
    }

    /// tracer goes on: it was attached all the time since the previous coverage. What it could not see in that time
    /// nevertheless becomes a gap with the reason `missed`.
    pub fn resumed(&self, scope: &str, at_us: i64, missed: Option<&str>) {
        self.begins(scope, at_us, Before::Attached { missed: missed.map(str::to_owned) });
    }

    fn begins(&self, scope: &str, at_us: i64, before: Before) {
        self.queue.push(Message::Attached { scope: scope.to_owned(), at_us, before });
    }

    /// tracer is still attached to everything.
    pub fn alive(&self, at_us: i64) {
        self.queue.push(Message::Alive(at_us));
    }

    /// tracer is attached to nothing any more.
    pub fn detached(&self, at_us: i64, reason: &str) {
        self.queue.push(Message::Detached { at_us, reason: reason.to_owned() });
    }

    /// How large the history is, and what it has taken so far. Does not wait for a disk.
    #[must_use]
    pub fn stand(&self) -> Stand {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the rest, and waits for it as long as is given. Whether all was handled: written, or counted as lost.
    #[must_use]
    pub fn close(self, at_most: Duration) -> bool {
        self.queue.close();
        self.queue.wait_until_finished(Instant::now() + at_most)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}
