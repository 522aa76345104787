//! The socket to which sandboxes send their messages.
//!
//! A sandbox hardly waits: it drops messages while the socket is full. So a thread reads them at once and keeps them
//! in a queue of bounded size; what does not fit is counted.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};
use tokio_seqpacket::{UnixSeqpacket, UnixSeqpacketListener};

use crate::wire::{Handshake, VERSION};

/// The largest message: a unix socket takes no larger one by default (`net.core.wmem_default`, 212,992 B).
const LARGEST: usize = 256 << 10;
/// Bytes of messages that may wait.
const MOST_WAITING: usize = 64 << 20;
/// The highest priority of an ordinary thread (`setpriority(2)`).
const FIRST_IN_LINE: i32 = -20;
/// Sandboxes that are listened to at a time.
const MOST_SANDBOXES: u32 = 1024;

/// What a sandbox has sent.
#[derive(Debug)]
pub struct News {
    /// Number of the connection, from 1 on.
    pub sandbox: u32,
    /// What it is.
    pub kind: NewsKind,
}

/// What a sandbox has sent.
#[derive(Debug)]
pub enum NewsKind {
    /// It has connected.
    Connected,
    /// A message.
    Message(Bytes),
    /// It has closed the connection: the sandbox has ended, or the trace session was deleted.
    Closed,
}

/// The socket, and the thread that reads it. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Sink {
    news: mpsc::UnboundedReceiver<News>,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes of messages in the queue.
    waiting: AtomicUsize,
    /// Messages that found no room.
    lost: AtomicU64,
}

impl Sink {
    /// Listens at a path, which must not exist, and at another one if it is free. The caller sees to it that only root can
    /// connect.
    ///
    /// # Errors
    /// An error if the first path cannot be bound, or if the system allows no further thread.
    pub fn listen(path: &Path, if_free: &Path) -> io::Result<Self> {
        let (sender, news) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listeners = {
            let _inside = runtime.enter();
            let second = UnixSeqpacketListener::bind(if_free).ok();
            std::iter::once(UnixSeqpacketListener::bind(path)?).chain(second).collect()
        };
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("gvisor".into()).spawn(move || {
            // A message that waits too long is dropped. Without the right to it, the thread runs as the others do.
            let _ = rustix::process::setpriority_process(None, FIRST_IN_LINE);
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = serve(listeners, sender, of_thread) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { news, shared, _stop: stop })
    }

    /// The next news. `None` when the thread has ended. Can be cancelled without a loss.
    pub async fn next(&mut self) -> Option<News> {
        let news = self.news.recv().await;
        news.inspect(|news| self.took(news))
    }

    /// The next news, if there is one already.
    pub fn try_next(&mut self) -> Option<News> {
        let news = self.news.try_recv().ok();
        news.inspect(|news| self.took(news))
    }

    fn took(&self, news: &News) {
        if let NewsKind::Message(message) = &news.kind {
            self.shared.waiting.fetch_sub(message.len(), Ordering::Relaxed);
        }
    }

    /// Messages that found no room so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut listeners: Vec<UnixSeqpacketListener>,
    sender: mpsc::UnboundedSender<News>,
    shared: Arc<Shared>,
) {
    for sandbox in 1..=MOST_SANDBOXES {
        let accepted = std::future::poll_fn(|context| {
            let mut polls = listeners.iter_mut().map(|listener| listener.poll_accept(context));
            polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        let Ok(connection) = accepted.await else { return };
        let (sender, shared) = (sender.clone(), Arc::clone(&shared));
        tokio::task::spawn_local(async move {
            let send = |kind| sender.send(News { sandbox, kind }).is_ok();
            if send(NewsKind::Connected) {
                // An error means that the sandbox has ended.
                let _ = listen_to(&connection, &shared, send).await;
            }
            let _ = sender.send(News { sandbox, kind: NewsKind::Closed });
        });
    }
    std::future::pending::<()>().await;
}

/// Answers the handshake, and reads until the other end is closed.
async fn listen_to(
    connection: &UnixSeqpacket,
    shared: &Shared,
    send: impl Fn(NewsKind) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST];
    let size = connection.recv(&mut buffer).await?.bytes_read();
    if Handshake::decode(&buffer[..size]).is_err() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    connection.send(&Handshake { version: VERSION }.encode_to_vec()).await?;
    loop {
        let received = connection.recv(&mut buffer).await?;
        let size = received.bytes_read();
        if size == 0 {
            return Ok(());
        }
        let waiting = shared.waiting.fetch_add(size, Ordering::Relaxed);
        if waiting + size > MOST_WAITING || received.truncated() {
            shared.waiting.fetch_sub(size, Ordering::Relaxed);
            shared.lost.fetch_add(1, Ordering::Relaxed);
        } else if !send(NewsKind::Message(Bytes::copy_from_slice(&buffer[..size]))) {
            return Ok(());
        }
    }
}
