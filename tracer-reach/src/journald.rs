//! journald: findings and gaps as entries with fields.
//!
//! The fields are those that journald and docker's log driver already use, and `TRACER_…` for the others, so that
//! `journalctl TRACER_RULE=unread`, `journalctl CONTAINER_NAME=web` and `journalctl -u worker.service` find them.

mod fields;
mod socket;

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracer_history::{Entry, Gap};

use self::socket::Socket;

/// Where journald takes entries (systemd-journald.service(8)).
const SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of entries that wait because journald does not take them.
const MOST_WAITING: usize = 1 << 20;
/// How often the log is told of entries that were dropped.
const WARNINGS: Duration = Duration::from_mins(1);

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
#[error(
    "journald does not take entries at {SOCKET}: {source}; start systemd-journald, or leave out --journald"
)]
pub struct JournalError {
    source: io::Error,
}

/// Tells journald, without waiting for it.
#[derive(Debug)]
pub struct Journal {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    socket: Socket,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// Drops that the log has told, and when it may be told again.
    told: (u64, Instant),
}

impl Journal {
    /// Connects to journald.
    ///
    /// # Errors
    /// [`JournalError`] if nothing listens there.
    pub fn start() -> Result<Self, JournalError> {
        Self::start_at(Path::new(SOCKET)).map_err(|source| JournalError { source })
    }

    fn start_at(path: &Path) -> io::Result<Self> {
        let socket = Socket::open(path)?;
        let state = State {
            socket,
            waiting: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            told: (0, Instant::now()),
        };
        Ok(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command was judged. It becomes an entry if it has a finding.
    pub fn entry(&self, entry: &Entry) {
        if crate::told::has_finding(entry) {
            self.lock().add(fields::of_entry(entry));
        }
    }

    /// Something was not seen. `sentence` says it to a person.
    pub fn gap(&self, gap: &Gap, sentence: &str) {
        self.lock().add(fields::of_gap(gap, sentence));
    }

    /// Tries again what journald did not take. To be called now and then.
    pub fn send_waiting(&self) {
        let mut state = self.lock();
        state.send();
        state.warn();
    }

    /// Entries that journald did not take, so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Tries the rest once. What journald does not take then is told on the log.
    pub fn close(self) {
        let mut state = self.lock();
        state.send();
        let unsent = state.waiting.len();
        if unsent > 0 {
            tracing::warn!("journald did not take the latest {unsent} entries");
        }
    }
}

impl State {
    fn add(&mut self, entry: Vec<u8>) {
        if self.bytes + entry.len() > MOST_WAITING {
            self.send();
        }
        if self.bytes + entry.len() > MOST_WAITING {
            self.dropped += 1;
            return;
        }
        self.bytes += entry.len();
        self.waiting.push_back(entry);
        self.send();
    }

    /// Sends what waits, until journald takes no more.
    fn send(&mut self) {
        while let Some(entry) = self.waiting.front() {
            if self.socket.send(entry).is_err() {
                return;
            }
            self.bytes -= entry.len();
            self.waiting.pop_front();
        }
    }

    fn warn(&mut self) {
        let (told, next) = self.told;
        if self.dropped > told && Instant::now() >= next {
            self.told = (self.dropped, Instant::now() + WARNINGS);
            tracing::warn!("journald does not take entries: {} were dropped", self.dropped);
        }
    }
}

#[cfg(test)]
mod tests;
