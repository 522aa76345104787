//! OpenTelemetry: findings and gaps as log records, lost bytes as metrics, sent to a collector over HTTP.
//!
//! [`Otlp`] puts records into a queue of bounded size and never waits. A thread sends them in batches (OTLP 1.11,
//! binary protobuf over HTTP/1.1: <https://opentelemetry.io/docs/specs/otlp/>). A collector that is down or slow costs
//! records, which are counted by reason, and nothing else.

mod backoff;
mod client;
mod endpoint;
mod message;
mod queue;
mod record;
mod sender;
mod totals;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tracer_history::{Entry, Gap};

pub use self::{
    endpoint::{Endpoint, EndpointError},
    queue::Dropped,
};
use self::{
    queue::Queue,
    sender::{Pace, Sender},
    totals::Totals,
};
use crate::{Spawn, told};

/// Tells a collector. Its thread ends after [`Otlp::close`].
#[derive(Debug)]
pub struct Otlp {
    shared: Arc<Shared>,
}

/// What the thread shares with the callers.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    totals: Mutex<Totals>,
}

impl Otlp {
    /// Starts the thread. The collector need not be there.
    ///
    /// # Errors
    /// An error if there is no thread.
    pub fn start(endpoint: &Endpoint, spawn: Spawn<'_>) -> io::Result<Self> {
        Self::start_with(endpoint, Pace::default(), spawn)
    }

    fn start_with(endpoint: &Endpoint, pace: Pace, spawn: Spawn<'_>) -> io::Result<Self> {
        let totals = Mutex::new(Totals::new(Timestamp::now().as_microsecond()));
        let shared = Arc::new(Shared { queue: Queue::new(pace.linger), totals });
        let sender = Sender::new(endpoint, pace, Arc::clone(&shared));
        spawn("otlp", Box::new(move || sender.run()))?;
        Ok(Self { shared })
    }

    /// A command was judged. It becomes a log record if it has a finding.
    pub fn entry(&self, entry: &Entry) {
        self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner).add(entry);
        if told::has_finding(entry) {
            self.shared.queue.push(record::of_entry(entry));
        }
    }

    /// Something was not seen. `sentence` says it to a person.
    pub fn gap(&self, gap: &Gap, sentence: &str) {
        self.shared.queue.push(record::of_gap(gap, sentence));
    }

    /// Log records that the collector did not take, so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.shared.queue.dropped()
    }

    /// Sends what waits, for at most this time. What was not sent then is told on the log.
    pub fn close(self, within: Duration) {
        let unsent = self.shared.queue.close(within);
        if unsent > 0 {
            tracing::warn!(
                "the collector of OpenTelemetry did not take the latest {unsent} log records"
            );
        }
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        self.shared.queue.close(Duration::ZERO);
    }
}
