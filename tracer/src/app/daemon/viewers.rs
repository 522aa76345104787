//! The views that look at the recorder (`tracer top --daemon`).
//!
//! ```text
//! view ──?──▶ socket ──▶ thread "views" ──wanted──▶ main thread ──Sample──▶ thread "views" ──Answer──▶ view
//! ```
//!
//! Nothing is computed unless a view has asked, and each answer is asked for. The main thread only copies its session,
//! which takes at most 1 % of its time. The thread judges the copy, at most 5 % of its time. It gives up a view that does
//! not read, and one that does not ask.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::sockopt::socket_peercred,
};

use super::picture::{Painter, Sample};
use crate::{
    app::top::{APART, SHARE},
    observe::Lookout,
    settings::DaemonSettings,
    sys::{
        privileges::{self, Rights},
        run_folder::RunSocket,
    },
};

/// How many views may look at a time.
const MOST_VIEWS: usize = 4;
/// How long a view may take to read the next part of an answer.
const READS_WITHIN: Duration = Duration::from_secs(2);
/// How long a view may ask for nothing.
const ASKS_WITHIN: Duration = Duration::from_secs(30);
/// How often a sample is looked for that a view waits for.
const SOON: Duration = Duration::from_millis(20);
/// How often the time limits are looked at while a view is there.
const TURN: Duration = Duration::from_secs(1);
/// What a view gets for which there is no room.
const NO_ROOM: [u8; 4] = [0; 4];

/// What the main thread and the thread share. Neither waits for the other.
#[derive(Debug, Default)]
struct Slot {
    sample: Mutex<Option<Sample>>,
    is_wanted: AtomicBool,
}

/// The main thread's side. Dropping it removes the socket.
#[derive(Debug)]
pub(super) struct Viewers {
    slot: Arc<Slot>,
    _socket: RunSocket,
}

impl Viewers {
    /// Listens for views, on a thread of its own. To be called while the history is locked.
    pub(super) fn start(settings: &DaemonSettings, lookout: Lookout) -> io::Result<Self> {
        let (socket, listener) = RunSocket::listen(&settings.history)?;
        let slot = Arc::new(Slot::default());
        let theirs = Arc::clone(&slot);
        let painter = Painter::new(settings, lookout);
        privileges::spawn("views", Rights::None, move || {
            let ended = Views::new(&listener, &theirs, painter).serve();
            tracing::warn!("`tracer top --daemon` shows nothing any more: {ended}");
        })?;
        Ok(Self { slot, _socket: socket })
    }

    /// Whether a view waits for a sample.
    pub(super) fn want_sample(&self) -> bool {
        self.slot.is_wanted.load(Ordering::SeqCst)
    }

    /// Gives the thread a sample.
    pub(super) fn put(&self, sample: Sample) {
        *self.slot.sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
        self.slot.is_wanted.store(false, Ordering::SeqCst);
    }
}

/// A view that is connected.
#[derive(Debug)]
struct Viewer {
    stream: UnixStream,
    wants: bool,
    /// The answer on its way, and how much of it was sent.
    answer: Option<(Arc<[u8]>, usize)>,
    /// When it last asked or read.
    moved: Instant,
}

impl Viewer {
    fn events(&self) -> PollFlags {
        match (&self.answer, self.wants) {
            (Some(_), _) => PollFlags::OUT,
            // What it sends meanwhile waits. That it is gone is always told.
            (None, true) => PollFlags::empty(),
            (None, false) => PollFlags::IN,
        }
    }

    /// Reads what it wants, or sends the next part of its answer. Returns whether it stays.
    fn turn(&mut self, happened: PollFlags) -> bool {
        if happened.intersects(PollFlags::HUP | PollFlags::ERR) {
            return false;
        }
        let moved = match &mut self.answer {
            Some((answer, sent)) => {
                let rest = answer.get(*sent..).unwrap_or_default();
                let moved = self.stream.write(rest).inspect(|length| *sent += length);
                if *sent >= answer.len() {
                    self.answer = None;
                }
                moved
            }
            None if self.wants => return true,
            None => {
                let asked = self.stream.read(&mut [0; 64]);
                self.wants = matches!(asked, Ok(1..));
                asked
            }
        };
        match moved {
            Ok(0) => false,
            Ok(_) => {
                self.moved = Instant::now();
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let within = if self.answer.is_some() { READS_WITHIN } else { ASKS_WITHIN };
                self.moved.elapsed() < within
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }
}

/// The views that are connected.
struct Views<'a> {
    listener: &'a UnixListener,
    slot: &'a Slot,
    painter: Painter,
    viewers: Vec<Viewer>,
    /// When the next sample may be wanted.
    next: Instant,
}

impl<'a> Views<'a> {
    fn new(listener: &'a UnixListener, slot: &'a Slot, painter: Painter) -> Self {
        Self { listener, slot, painter, viewers: Vec::new(), next: Instant::now() }
    }

    /// Serves views until that is not possible any more.
    fn serve(mut self) -> io::Error {
        loop {
            let happened = match self.wait() {
                Ok(happened) => happened,
                Err(Errno::INTR) => continue,
                Err(error) => return error.into(),
            };
            let mut happened = happened.into_iter();
            let has_new = happened.next().is_some_and(|events| !events.is_empty());
            self.viewers
                .retain_mut(|viewer| viewer.turn(happened.next().unwrap_or(PollFlags::empty())));
            if has_new {
                self.admit();
            }
            self.answer();
        }
    }

    /// Waits until something happens: at the listener, and at each view.
    fn wait(&self) -> Result<Vec<PollFlags>, Errno> {
        let mut fds = vec![PollFd::new(self.listener, PollFlags::IN)];
        fds.extend(self.viewers.iter().map(|viewer| PollFd::new(&viewer.stream, viewer.events())));
        let pause = match self.viewers.iter().any(|viewer| viewer.wants) {
            _ if self.viewers.is_empty() => None,
            true => Some(SOON),
            false => Some(TURN),
        };
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        poll(&mut fds, pause.as_ref())?;
        Ok(fds.iter().map(PollFd::revents).collect())
    }

    /// Lets a view in, if it is root's and there is room.
    fn admit(&mut self) {
        let Ok((mut stream, _)) = self.listener.accept() else {
            // Without a free fd the view waits, and would be told of again at once.
            std::thread::sleep(SOON);
            return;
        };
        let is_root = socket_peercred(&stream).is_ok_and(|peer| peer.uid.is_root());
        if !is_root || stream.set_nonblocking(true).is_err() {
            return;
        }
        if self.viewers.len() >= MOST_VIEWS {
            // A new socket has room for this.
            let _ = stream.write(&NO_ROOM);
            return;
        }
        let moved = Instant::now();
        self.viewers.push(Viewer { stream, wants: false, answer: None, moved });
    }

    /// Answers the views that wait, if there is a sample; otherwise asks for one if it is time.
    fn answer(&mut self) {
        let wanted = &self.slot.is_wanted;
        let sample = self.slot.sample.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !self.viewers.iter().any(|viewer| viewer.wants) {
            wanted.store(false, Ordering::SeqCst);
            return;
        }
        let began = Instant::now();
        let Some(sample) = sample else {
            if began >= self.next {
                wanted.store(true, Ordering::SeqCst);
            }
            return;
        };
        let answer: Arc<[u8]> = self.painter.answer(sample).into();
        self.next = began + APART.max(began.elapsed() * SHARE);
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.wants) {
            (viewer.wants, viewer.moved) = (false, Instant::now());
            viewer.answer = Some((Arc::clone(&answer), 0));
        }
    }
}
