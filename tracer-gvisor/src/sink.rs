//! The socket to which sandboxes send their messages.
//!
//! A sandbox hardly waits: it drops messages while the socket is full. So a thread reads them at once and keeps them
//! in a queue of bounded size; what does not fit is counted.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
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
const MOST_SANDBOXES: usize = 1024;
/// How long a sandbox may take until it says what it is: it does so at once.
const GREETS_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before the next connection is accepted, if the system has no room for it.
const ROOM_IN: Duration = Duration::from_millis(100);

/// What a sandbox has sent.
#[derive(Debug)]
pub struct SinkEvent {
    /// Number of the connection, from 1 on.
    pub sandbox: u32,
    /// What it is.
    pub kind: SinkEventKind,
}

/// What a sandbox has sent.
#[derive(Debug)]
pub enum SinkEventKind {
    /// It has connected.
    Connected(Origin),
    /// A message.
    Message(Bytes),
    /// It has closed the connection: the sandbox has ended, or the trace session was deleted.
    Closed,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Pid of the process that connected (`SO_PEERCRED`, unix(7)): the `runsc` that made the trace session or started the
    /// sandbox. It hands the connection to the sandbox, and may have ended.
    pub pid: i32,
    /// Whether it connected to the second path, which other programs know too.
    pub is_second: bool,
}

/// The socket, and the thread that reads it. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Sink {
    events: mpsc::UnboundedReceiver<SinkEvent>,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes of messages in the queue.
    waiting: AtomicUsize,
    /// Messages that found no room, and sandboxes.
    lost: AtomicU64,
}

impl Sink {
    /// Listens at a path, which must not exist, and at another one if it is free. To be called before this thread gives up
    /// its capabilities: one of them lets the sink's thread run before others, which then gives up all.
    ///
    /// # Errors
    /// An error if the first path cannot be bound, or if the system allows no further thread.
    pub fn listen(
        path: &Path,
        if_free: &Path,
        give_up_rights: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _inside = runtime.enter();
            let second = bind(if_free).ok();
            std::iter::once(bind(path)?).chain(second).collect()
        };
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("gvisor".into()).spawn(move || {
            // A message that waits too long is dropped. Without the right to it, the thread runs as the others do.
            let _ = rustix::process::setpriority_process(None, FIRST_IN_LINE);
            give_up_rights();
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = serve(listeners, sender, of_thread) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { events, shared, _stop: stop })
    }

    /// The next event. `None` when the thread has ended. Can be cancelled without a loss.
    pub async fn next(&mut self) -> Option<SinkEvent> {
        let event = self.events.recv().await;
        event.inspect(|event| self.took(event))
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<SinkEvent> {
        let event = self.events.try_recv().ok();
        event.inspect(|event| self.took(event))
    }

    fn took(&self, event: &SinkEvent) {
        if let SinkEventKind::Message(message) = &event.kind {
            self.shared.waiting.fetch_sub(message.len(), Ordering::Relaxed);
        }
    }

    /// Closes the queue. Returns the connection of each message that is still in it.
    pub fn close(&mut self) -> impl Iterator<Item = u32> {
        self.events.close();
        std::iter::from_fn(|| self.try_next()).filter_map(|event| {
            matches!(event.kind, SinkEventKind::Message(_)).then_some(event.sandbox)
        })
    }

    /// Messages that found no room so far, and sandboxes.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// Listens at a path, to which only this user can connect.
fn bind(path: &Path) -> io::Result<UnixSeqpacketListener> {
    let listener = UnixSeqpacketListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(
    mut listeners: Vec<UnixSeqpacketListener>,
    sender: mpsc::UnboundedSender<SinkEvent>,
    shared: Arc<Shared>,
) {
    let listened_to = Rc::new(());
    let mut sandbox = 0;
    loop {
        let accepted = std::future::poll_fn(|context| {
            let mut polls = listeners.iter_mut().enumerate().map(|(path, listener)| {
                listener.poll_accept(context).map(|accepted| (path, accepted))
            });
            polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        let (path, Ok(connection)) = accepted.await else {
            // This process has too many open files.
            tokio::time::sleep(ROOM_IN).await;
            continue;
        };
        let pid = connection.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
        let origin = Origin { pid, is_second: path > 0 };
        if Rc::strong_count(&listened_to) > MOST_SANDBOXES {
            // The sandbox runs on without a session.
            shared.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        sandbox += 1;
        let (sender, shared) = (sender.clone(), Arc::clone(&shared));
        let is_listened_to = Rc::clone(&listened_to);
        tokio::task::spawn_local(async move {
            let send = |kind| sender.send(SinkEvent { sandbox, kind }).is_ok();
            if send(SinkEventKind::Connected(origin)) {
                // An error means that the sandbox has ended.
                let _ = listen_to(&connection, &shared, send).await;
            }
            let _ = sender.send(SinkEvent { sandbox, kind: SinkEventKind::Closed });
            drop(is_listened_to);
        });
    }
}

/// Answers the handshake, and reads until the other end is closed.
async fn listen_to(
    connection: &UnixSeqpacket,
    shared: &Shared,
    send: impl Fn(SinkEventKind) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST];
    let begun = tokio::time::timeout(GREETS_WITHIN, connection.recv(&mut buffer)).await;
    let size = begun.map_err(|_| io::ErrorKind::TimedOut)??.bytes_read();
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
        } else if !send(SinkEventKind::Message(Bytes::copy_from_slice(&buffer[..size]))) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::{
        net::{
            AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send,
            socket_with,
        },
        thread::{CapabilitySet, CapabilitySets, set_capabilities},
    };

    use super::*;

    /// A socket at a path of its own, with the folder that it is in.
    fn sink(name: &str) -> (Sink, std::path::PathBuf) {
        let folder =
            std::env::temp_dir().join(format!("tracer-sink-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let give_up_rights = || {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
        };
        let made = Sink::listen(&folder.join("one"), &folder.join("two"), give_up_rights);
        (made.unwrap(), folder)
    }

    fn connected(folder: &Path) -> std::os::fd::OwnedFd {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let socket = socket.unwrap();
        connect(&socket, &SocketAddrUnix::new(folder.join("one")).unwrap()).unwrap();
        socket
    }

    fn next_event(sink: &mut Sink) -> SinkEvent {
        (0..1000)
            .find_map(|turn| {
                thread::sleep(Duration::from_micros(100 * turn));
                sink.try_next()
            })
            .expect("no event")
    }

    fn greets(socket: &std::os::fd::OwnedFd) {
        let greeting = Handshake { version: VERSION }.encode_to_vec();
        send(socket, &greeting, SendFlags::empty()).unwrap();
    }

    #[test]
    fn sandboxes_may_come_and_go_without_end() {
        let (mut sink, folder) = sink("many");
        for number in 1..=3 * MOST_SANDBOXES as u32 {
            drop(connected(&folder));
            let [first, second] = [next_event(&mut sink), next_event(&mut sink)];
            assert_eq!((first.sandbox, second.sandbox), (number, number));
            assert!(matches!(second.kind, SinkEventKind::Closed), "{second:?}");
        }
        assert_eq!(sink.lost(), 0);
    }

    #[test]
    fn only_its_user_can_connect() {
        let (_sink, folder) = sink("mode");
        for name in ["one", "two"] {
            let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn its_thread_has_no_capabilities() {
        let (_sink, _folder) = sink("rights");
        let is_without = || {
            let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
            let statuses =
                threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
            let mut sinks = statuses.filter(|status| status.starts_with("Name:\tgvisor\n"));
            sinks.any(|status| status.contains("CapPrm:\t0000000000000000"))
        };
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while !is_without() {
            assert!(std::time::Instant::now() < until, "no thread without capabilities");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn messages_still_in_the_queue_at_the_end_are_told() {
        let (mut sink, folder) = sink("rest");
        let socket = connected(&folder);
        greets(&socket);
        let SinkEventKind::Connected(origin) = next_event(&mut sink).kind else { panic!() };
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(origin, Origin { pid, is_second: false });
        (0..7).for_each(|_| {
            send(&socket, b"12345678", SendFlags::empty()).unwrap();
        });
        assert!(matches!(next_event(&mut sink).kind, SinkEventKind::Message(_)));
        thread::sleep(Duration::from_millis(200));
        assert_eq!(sink.close().collect::<Vec<_>>(), [1; 6]);
    }

    #[test]
    fn a_stranger_that_sends_something_else_is_hung_up_on() {
        let (mut sink, folder) = sink("stranger");
        let socket = connected(&folder);
        send(&socket, &[0xff; 9], SendFlags::empty()).unwrap();
        assert!(matches!(next_event(&mut sink).kind, SinkEventKind::Connected(_)));
        assert!(matches!(next_event(&mut sink).kind, SinkEventKind::Closed));
    }
}
