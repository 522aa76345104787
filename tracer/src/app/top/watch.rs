//! `tracer top --daemon`: shows what the running recorder knows.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_core::snapshot::Snapshot;

use super::{close, color, open_screen, show, source::APART};
use crate::{
    app::{
        AppError,
        daemon::wire::{self, Answer, Arrived, WANTED},
        lines,
        signals::Signals,
        stderr,
    },
    settings::WatchSettings,
    sys::{run_folder::socket_of, signal::die_of, unix_socket::connect_by},
    top::{self, Order, Source},
};

/// How often the socket is looked at.
const TURN: Duration = Duration::from_millis(50);
/// How often a recorder that has ended is looked for.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an answer may take before the user is told.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows the recorder until the user quits, or until a signal comes. The recorder goes on.
///
/// # Errors
/// [`AppError`] if no recorder runs, if the user may not look at it, or if there is no terminal.
pub fn watch(settings: &WatchSettings) -> Result<(), AppError> {
    let failed = |source| AppError::Runtime { source };
    let link = Link::open(settings)?;
    let screen = open_screen()?;
    let mut signals = Signals::listen()?;
    stderr::start().map_err(failed)?;
    signals.begin()?;
    let (source, view) = top::link();
    lines::hold();
    let view = show(screen, view, color(settings.color)).map_err(failed);
    let view = view.inspect_err(|_| lines::release())?;
    let mut watching =
        Watching { settings, source, link: Some(link), latest: None, next: Instant::now() };
    let mut stopped = None;
    let watched = loop {
        stopped = stopped.or(signals.stopped());
        match watching.turn() {
            Ok(true) if stopped.is_none() => {}
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    watching.source.close();
    close(&view);
    match stopped {
        Some(signal) => die_of(signal),
        None => watched,
    }
}

/// The connection to a recorder.
struct Link {
    stream: UnixStream,
    /// What has arrived of an answer.
    buffer: Vec<u8>,
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    /// Whether the user knows that it takes long.
    is_late: bool,
}

impl Link {
    fn open(settings: &WatchSettings) -> Result<Self, AppError> {
        let path = || settings.history.clone();
        let soon = Instant::now() + TURN;
        let opened = socket_of(&settings.history).and_then(|path| connect_by(&path, soon));
        let opened = opened.and_then(|stream| stream.set_nonblocking(true).map(|()| stream));
        let stream = opened.map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                AppError::NoDaemon { path: path() }
            }
            ErrorKind::PermissionDenied => AppError::DaemonIsRoots,
            _ => AppError::Daemon { path: path(), source },
        })?;
        Ok(Self { stream, buffer: Vec::new(), asked: None, is_late: false })
    }

    /// Asks for a snapshot. A recorder that has closed the connection may have said why.
    fn ask(&mut self) -> io::Result<Arrived> {
        (self.asked, self.is_late) = (Some(Instant::now()), false);
        self.stream.write_all(&[WANTED]).map(|()| Arrived::Part).or_else(|_| self.take())
    }

    /// Takes what has arrived.
    fn take(&mut self) -> io::Result<Arrived> {
        let mut part = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.buffer.extend_from_slice(part.get(..length).unwrap_or_default());
                    match wire::take(&mut self.buffer) {
                        Arrived::Part => {}
                        arrived => return Ok(arrived),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Arrived::Part),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A view of a recorder.
struct Watching<'a> {
    settings: &'a WatchSettings,
    source: Source,
    /// `None` when the recorder has ended.
    link: Option<Link>,
    latest: Option<Snapshot>,
    /// When to ask, or to look for the recorder, the next time.
    next: Instant,
}

impl Watching<'_> {
    /// One turn. Returns whether to go on.
    fn turn(&mut self) -> Result<bool, AppError> {
        match self.source.order(TURN) {
            Some(Order::Quit) => return Ok(false),
            Some(Order::Save) => {
                let words =
                    "The reports of a recorder are in its history: see `tracer why --help`.";
                self.source.notice(words.to_owned());
            }
            // The others are for recordings.
            _ => {}
        }
        let now = Instant::now();
        let Some(link) = &mut self.link else {
            if now >= self.next {
                self.next = now + AGAIN;
                self.look_again();
            }
            return Ok(true);
        };
        let arrived = match link.asked {
            None if now >= self.next => link.ask(),
            None => Ok(Arrived::Part),
            Some(_) => link.take(),
        };
        match arrived {
            Ok(Arrived::Part) => self.wait(now),
            Ok(Arrived::Answer(json)) => self.show(&json)?,
            Ok(Arrived::NoRoom) => {
                return Err(self.refused("as many views as it allows look at it already"));
            }
            Ok(Arrived::Garbage) => return Err(self.refused(OTHER)),
            Err(_) => self.has_ended(),
        }
        Ok(true)
    }

    /// Tells the user if an answer takes long.
    fn wait(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let is_late = link.asked.is_some_and(|asked| now.duration_since(asked) > PATIENCE);
        if is_late && !link.is_late {
            link.is_late = true;
            self.source.notice("The recorder is busy: this is what it knew before.".to_owned());
        }
    }

    fn show(&mut self, json: &[u8]) -> Result<(), AppError> {
        let Ok(Answer { version, snapshot }) = serde_json::from_slice(json) else {
            return Err(self.refused(OTHER));
        };
        tracing::trace!("a snapshot of tracer {version}");
        self.source.show(Arc::new(snapshot.clone()));
        self.latest = Some(snapshot);
        self.next = Instant::now() + APART;
        if let Some(link) = &mut self.link {
            link.asked = None;
        }
        Ok(())
    }

    fn refused(&self, why: &'static str) -> AppError {
        AppError::Daemon { path: self.settings.history.clone(), source: io::Error::other(why) }
    }

    /// What was shown last stays.
    fn has_ended(&mut self) {
        self.link = None;
        self.next = Instant::now() + AGAIN;
        if let Some(latest) = self.latest.take() {
            self.source.show(Arc::new(Snapshot { is_over: true, ..latest }));
        }
        self.source.notice("The recorder has ended: this is what it showed last.".to_owned());
    }

    fn look_again(&mut self) {
        if let Ok(link) = Link::open(self.settings) {
            self.link = Some(link);
            self.source.notice("A recorder runs again.".to_owned());
        }
    }
}

/// Why an answer cannot be read.
const OTHER: &str = "it is another version of tracer: start the daemon again";
