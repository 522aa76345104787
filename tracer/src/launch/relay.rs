//! Relays bytes between a command's terminal and tracer's standard streams.
//!
//! One thread does this. It ends when every process has closed the command's side, or when it is stopped. When it is
//! stopped, it first relays what is left in the terminal.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

use super::pty::{Pty, Streams};
use crate::sys::privileges::{self, Rights};

/// More than a terminal can hold. What comes after that many bytes was written after the command's end, by a process
/// that it left in the background.
const LARGEST_BACKLOG: usize = 1 << 20;

/// How often [`PtyRelay::finish`] looks whether the thread has ended.
const TURN: Duration = Duration::from_millis(5);

/// How long a dropped relay has to pass on the rest.
const AT_DROP: Duration = Duration::from_millis(200);

/// tracer's terminal while it is in raw mode, and its settings before.
static RAW: Mutex<Option<(Arc<Streams>, Termios)>> = Mutex::new(None);

/// Restores tracer's terminal, if it is in raw mode. For a run that ends at once.
pub fn restore_terminal() {
    let raw = RAW.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((streams, saved)) = raw {
        // This fails only if the terminal is gone.
        let _ = tcsetattr(&streams.input, OptionalActions::Now, &saved);
    }
}

/// A relay that runs. Dropping this stops it.
#[derive(Debug)]
pub(super) struct PtyRelay {
    thread: Option<JoinHandle<io::Result<()>>>,
    stop: Arc<OwnedFd>,
    pty: Arc<Pty>,
    streams: Arc<Streams>,
    raw_mode: Option<RawMode>,
}

impl PtyRelay {
    /// Sets tracer's terminal to raw mode, so that Ctrl-C and the like reach the command's terminal as bytes and take
    /// effect there. Starts the thread.
    pub(super) fn start(pty: Pty, streams: Streams) -> io::Result<Self> {
        let (pty, streams) = (Arc::new(pty), Arc::new(streams));
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let raw_mode = RawMode::enter(&streams);
        let relay = Relay {
            pty: Arc::clone(&pty),
            streams: Arc::clone(&streams),
            stop: Arc::clone(&stop),
            is_stopping: false,
            reads_input: streams.may_read_input(),
            pending: Vec::new(),
            is_at_line_start: true,
            failure: None,
        };
        let thread = privileges::spawn("tracer", Rights::None, || relay.run())?;
        Ok(Self { thread: Some(thread), stop, pty, streams, raw_mode })
    }

    /// Copies the size of tracer's terminal to the command's terminal.
    pub(super) fn resize(&self) -> io::Result<()> {
        self.pty.copy_size(&self.streams)
    }

    /// Relays the rest and restores tracer's terminal. Leaves the rest when `waits` says so: the reader of standard
    /// output may stand still.
    pub(super) fn finish(mut self, waits: impl FnMut() -> bool) -> io::Result<()> {
        self.stop(waits)
    }

    fn stop(&mut self, mut waits: impl FnMut() -> bool) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        rustix::io::retry_on_intr(|| rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()))?;
        while !thread.is_finished() {
            if !waits() {
                self.raw_mode = None;
                return Err(io::Error::other("nothing reads standard output"));
            }
            thread::sleep(TURN);
        }
        let relayed = thread.join();
        self.raw_mode = None;
        relayed.unwrap_or_else(|_| Err(io::Error::other("the relay panicked")))
    }
}

impl Drop for PtyRelay {
    fn drop(&mut self) {
        // Only `finish` reports the error, and waits for a slow reader.
        let began = Instant::now();
        let _ = self.stop(|| began.elapsed() < AT_DROP);
    }
}

/// tracer's terminal in raw mode. Dropping this restores it.
#[derive(Debug)]
struct RawMode;

impl RawMode {
    fn enter(streams: &Arc<Streams>) -> Option<Self> {
        if !streams.is_foreground_terminal() {
            return None;
        }
        let saved = tcgetattr(&streams.input).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(&streams.input, OptionalActions::Now, &raw).ok()?;
        let entered = Some((Arc::clone(streams), saved));
        *RAW.lock().unwrap_or_else(PoisonError::into_inner) = entered;
        Some(Self)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// State of the thread.
struct Relay {
    pty: Arc<Pty>,
    streams: Arc<Streams>,
    stop: Arc<OwnedFd>,
    is_stopping: bool,
    reads_input: bool,
    /// Input that the command's terminal has not accepted yet. Until it has, no more is read.
    pending: Vec<u8>,
    is_at_line_start: bool,
    /// The first error of a write. After that, output is dropped, so that the command does not block.
    failure: Option<io::Error>,
}

/// What is possible without blocking.
struct Ready {
    output: bool,
    input: bool,
    space: bool,
}

impl Relay {
    fn run(mut self) -> io::Result<()> {
        let mut backlog = 0;
        let mut buffer = vec![0; 16 << 10];
        loop {
            // Only after the stop does an empty terminal stay empty.
            let was_stopping = self.is_stopping;
            let ready = self.wait()?;
            if ready.output {
                match self.pass_output(&mut buffer) {
                    Some(length) if was_stopping => backlog += length,
                    Some(_) => {}
                    None => break,
                }
            } else if was_stopping {
                break;
            }
            if backlog > LARGEST_BACKLOG {
                break;
            }
            if ready.input {
                self.take_input(&mut buffer);
            }
            if ready.space {
                self.pass_input();
            }
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn wait(&mut self) -> io::Result<Ready> {
        let wants_space = !self.pending.is_empty();
        let wants_input = self.reads_input && !wants_space && !self.is_stopping;
        let mut events = PollFlags::IN;
        events.set(PollFlags::OUT, wants_space);
        let mut fds = vec![PollFd::from_borrowed_fd(self.pty.as_fd(), events)];
        if !self.is_stopping {
            fds.push(PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN));
        }
        if wants_input {
            fds.push(PollFd::from_borrowed_fd(self.streams.input.as_fd(), PollFlags::IN));
        }
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::io::retry_on_intr(|| poll(&mut fds, self.is_stopping.then_some(&at_once)))?;
        let mut results = fds.iter().map(PollFd::revents);
        let mut next = || results.next().unwrap_or(PollFlags::empty());
        let terminal = next();
        let ready = Ready {
            output: terminal.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            space: terminal.contains(PollFlags::OUT),
            input: false,
        };
        let is_stopped = !self.is_stopping && !next().is_empty();
        let input = wants_input && !next().is_empty();
        drop(fds);
        self.is_stopping |= is_stopped;
        Ok(Ready { input, ..ready })
    }

    /// Copies from the command's terminal to tracer's output. `None` at the end.
    fn pass_output(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match rustix::io::read(&*self.pty, &mut *buffer) {
            // Linux returns EIO if no process has the command's side open.
            Ok(0) | Err(Errno::IO) => None,
            Ok(length) => {
                if self.failure.is_none() {
                    let output = buffer.get(..length).unwrap_or_default();
                    self.failure = write_all(&self.streams.output, output).err();
                }
                Some(length)
            }
            Err(Errno::AGAIN | Errno::INTR) => Some(0),
            Err(errno) => {
                self.failure.get_or_insert(errno.into());
                None
            }
        }
    }

    fn take_input(&mut self, buffer: &mut [u8]) {
        match rustix::io::read(&self.streams.input, &mut *buffer) {
            Ok(0) => {
                self.reads_input = false;
                if let Some(end) = self.pty.end_of_input() {
                    // On a line with content, the first such character only ends the line.
                    let count = if self.is_at_line_start { 1 } else { 2 };
                    self.pending = vec![end; count];
                }
            }
            Ok(length) => {
                self.pending = buffer.get(..length).unwrap_or_default().to_vec();
                self.is_at_line_start = self.pending.ends_with(b"\n");
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.reads_input = false,
        }
    }

    fn pass_input(&mut self) {
        match rustix::io::write(&*self.pty, &self.pending) {
            Ok(length) => {
                self.pending.drain(..length);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.pending.clear();
                self.reads_input = false;
            }
        }
    }
}

fn write_all(output: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Standard output may be shared with a process that made it non-blocking.
                let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT)];
                rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
