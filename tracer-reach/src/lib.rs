//! What a tracer daemon tells other systems: metrics for Prometheus, log records for OpenTelemetry, entries for journald.
//!
//! [`Reach`] gets each [`Entry`] and [`Gap`] that goes into the history, and a [`Status`] each second.
//!
//! # Invariants
//!
//! 27. No call of [`Reach`] waits for a receiver, except [`Reach::close`], which waits for at most the time that it is
//!     given. What a slow receiver does not take is dropped, and counted.

#![forbid(unsafe_code)]

mod journald;
mod metrics;
mod otlp;
mod told;

use std::{io, time::Duration};

use tracer_history::{Entry, Gap, Place, Stand};

pub use self::{
    journald::{Journal, JournalError},
    metrics::{About, Address, Listening, Metrics, MetricsError},
    otlp::{Dropped, Endpoint, EndpointError, Otlp},
};

/// Starts a thread with this name, in the way of the program that uses this crate.
pub type Spawn<'a> = &'a dyn Fn(&'static str, Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// What the daemon says about itself, each second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Since when it is attached, in µs since 1970; `None` while it is not.
    pub attached_us: Option<i64>,
    /// Processes that run and are recorded.
    pub running: u64,
    /// Bytes of memory for commands that are not judged yet.
    pub memory: u64,
    /// Where threads are blocked in a write, each place once.
    pub blocked: Vec<Blocked>,
    /// The history.
    pub history: Stand,
}

/// Threads in one place that are blocked in a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Where their commands run.
    pub place: Place,
    /// How many they are.
    pub writers: u64,
    /// For how long the longest of them is blocked.
    pub longest: Duration,
}

/// The systems that are told. By default none.
#[derive(Default)]
pub struct Reach {
    /// Prometheus.
    pub metrics: Option<Metrics>,
    /// OpenTelemetry.
    pub otlp: Option<Otlp>,
    /// journald.
    pub journal: Option<Journal>,
}

impl Reach {
    /// A command was judged.
    pub fn entry(&self, entry: &Entry) {
        if let Some(metrics) = &self.metrics {
            metrics.entry(entry);
        }
        if let Some(otlp) = &self.otlp {
            otlp.entry(entry);
        }
        if let Some(journal) = &self.journal {
            journal.entry(entry);
        }
    }

    /// Something was not seen. `sentence` says it to a person.
    pub fn gap(&self, gap: &Gap, sentence: &str) {
        if let Some(metrics) = &self.metrics {
            metrics.gap(gap);
        }
        if let Some(otlp) = &self.otlp {
            otlp.gap(gap, sentence);
        }
        if let Some(journal) = &self.journal {
            journal.gap(gap, sentence);
        }
    }

    /// A second has passed. `status` says how the daemon is now, and is asked only for metrics.
    pub fn status(&self, status: impl FnOnce() -> Status) {
        if let Some(metrics) = &self.metrics {
            metrics.status(&status());
        }
        if let Some(journal) = &self.journal {
            journal.send_waiting();
        }
    }

    /// Sends what waits, for at most this time.
    pub fn close(self, within: Duration) {
        if let Some(otlp) = self.otlp {
            otlp.close(within);
        }
        if let Some(journal) = self.journal {
            journal.close();
        }
    }
}
