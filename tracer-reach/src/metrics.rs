//! Prometheus: counts by namespace, workload, container and stream, and a server that tells them.
//!
//! ```text
//! daemon ──Message──▶ queue ──▶ thread "metrics": counts, and answers who asks
//! ```
//!
//! The daemon hands over a few numbers of each entry and never waits: what does not fit into the queue is dropped, and
//! counted. One thread counts and answers, so that no lock is ever held for long.

mod address;
mod counts;
mod jobs;
mod labels;
mod own;
mod places;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod workload;

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    runtime::Builder,
    sync::mpsc::{Receiver, Sender, channel},
    task::LocalSet,
};
use tracer_history::{Entry, Gap};

pub use self::address::{Address, Listening};
use self::{
    address::Removed,
    counts::{Counts, Told},
    server::serve,
};
use crate::{Spawn, Status};

/// How much may wait until the thread takes it.
const WAITING: usize = 8_192;

/// Why there can be no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Another program listens there.
    #[error(
        "another program listens at {address} already: end it, or give --metrics another address"
    )]
    InUse {
        /// Where.
        address: Address,
    },
    /// It cannot listen there.
    #[error("cannot listen at {address}: {source}; give --metrics another address")]
    Listen {
        /// Where.
        address: Address,
        /// The system's error.
        source: io::Error,
    },
    /// There is no thread for it.
    #[error("cannot start the thread of the metrics: {0}")]
    Thread(io::Error),
}

/// What does not change while the daemon runs.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The version of tracer.
    pub version: String,
    /// Reasons for gaps that there may be: their counters begin at 0.
    pub reasons: Vec<String>,
}

/// What the daemon tells.
#[derive(Debug)]
enum Message {
    Entry(Box<Told>),
    Gap(Gap),
    Status(Box<Status>),
}

/// The daemon's side of the metrics. When it is dropped, the thread ends.
#[derive(Debug)]
pub struct Metrics {
    messages: Sender<Message>,
    dropped: Arc<AtomicU64>,
    /// The file of a unix socket. It is removed here, because a process that ends does not wait for the thread.
    _file: Option<Removed>,
}

impl Metrics {
    /// Starts the thread that counts and answers.
    ///
    /// # Errors
    /// [`MetricsError::Thread`].
    pub fn start(
        listening: Listening,
        about: About,
        spawn: Spawn<'_>,
    ) -> Result<Self, MetricsError> {
        let Listening { socket, file, .. } = listening;
        let (messages, theirs) = channel(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let of_thread = Arc::clone(&dropped);
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(MetricsError::Thread)?;
        let work = move || {
            let counts = Rc::new(RefCell::new(Counts::new(&about, of_thread)));
            let local = LocalSet::new();
            let server = serve(socket, Rc::clone(&counts));
            local.spawn_local(async {
                let Err(error) = server.await;
                tracing::warn!("the metrics can no longer be asked for: {error}");
            });
            local.block_on(&runtime, count(theirs, &counts));
        };
        spawn("metrics", Box::new(work)).map_err(MetricsError::Thread)?;
        Ok(Self { messages, dropped, _file: file })
    }

    fn tell(&self, message: Message) {
        if self.messages.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A command was judged.
    pub fn entry(&self, entry: &Entry) {
        self.tell(Message::Entry(Box::new(Told::of(entry))));
    }

    /// Something was not seen.
    pub fn gap(&self, gap: &Gap) {
        self.tell(Message::Gap(gap.clone()));
    }

    /// How the daemon is now.
    pub fn status(&self, status: &Status) {
        self.tell(Message::Status(Box::new(status.clone())));
    }
}

/// Counts until the daemon's side is dropped.
async fn count(mut theirs: Receiver<Message>, counts: &RefCell<Counts>) {
    while let Some(message) = theirs.recv().await {
        let mut counts = counts.borrow_mut();
        match message {
            Message::Entry(told) => counts.entry(*told),
            Message::Gap(gap) => counts.gap(&gap),
            Message::Status(status) => counts.status(&status),
        }
    }
}
