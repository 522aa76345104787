//! A line on the terminal while something takes long: a file that is read, a tree that tracer attaches to.

use std::{
    io::{self, IsTerminal as _, Read},
    sync::{
        Arc, OnceLock,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracer_core::text::{
    escape,
    units::{bytes, count},
};
use tracer_loader::{Arrived, EventRing};

use super::stderr::put;
use crate::sys::privileges::{Rights, spawn};

/// What is done sooner has no line.
const SOON: Duration = Duration::from_secs(1);
/// How often the line changes.
const TURN: Duration = Duration::from_millis(250);

/// How long the terminal may take for the last line.
const LAST_MOMENTS: Duration = Duration::from_millis(200);

/// A line that is erased when this is dropped.
struct Line {
    /// When it is next written; `None` for never.
    due: Option<Instant>,
    is_shown: bool,
}

impl Line {
    /// A line on standard error, if that is a terminal.
    fn new() -> Self {
        let due = io::stderr().is_terminal().then(|| Instant::now() + SOON);
        Self { due, is_shown: false }
    }

    /// Writes the line, if it is time for that.
    fn turn(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.due.is_some_and(|due| now >= due) {
            self.due = Some(now + TURN);
            self.is_shown = true;
            // A terminal that refuses the line does not stop the report.
            let _ = put(format!("\r\x1b[K{}", text()).as_bytes());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = put(b"\r\x1b[K");
        }
    }
}

/// Says what the main thread does while it cannot say that itself. The line is erased when this is dropped.
pub(super) struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    /// Starts, unless there is to be no line. `text` is asked for each line.
    pub(super) fn start(quiet: bool, text: impl Fn() -> String + Send + 'static) -> Self {
        let mut line = Line::new();
        if quiet || line.due.is_none() {
            return Self(None);
        }
        let (end, has_ended) = channel::<()>();
        let thread = spawn("tracer-progress", Rights::None, move || {
            while has_ended.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
                line.turn(&text);
            }
        });
        // Where the system allows no further thread, there is no line.
        Self(thread.ok().map(|thread| (end, thread)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            // What is written next must come after the line, unless the terminal takes nothing now.
            let began = Instant::now();
            while !thread.is_finished() && began.elapsed() < LAST_MOMENTS {
                std::thread::sleep(LAST_MOMENTS / 200);
            }
        }
    }
}

/// The line while tracer attaches.
pub(super) struct Attaching {
    arrived: Arc<OnceLock<Arc<Arrived>>>,
    _line: Waiting,
}

impl Attaching {
    /// Starts, unless tracer is to be quiet.
    pub(super) fn start(quiet: bool) -> Self {
        let arrived = Arc::<OnceLock<Arc<Arrived>>>::default();
        let known = Arc::clone(&arrived);
        let _line = Waiting::start(quiet, move || {
            attaching(known.get().map_or(0, |arrived| arrived.adopted()))
        });
        Self { arrived, _line }
    }

    /// From now on the line says how many processes were found.
    pub(super) fn counts(&self, events: EventRing) -> EventRing {
        // Only the first call counts.
        let _ = self.arrived.set(events.arrived());
        events
    }
}

fn attaching(adopted: u64) -> String {
    match adopted {
        0 => "tracer: attaching".to_owned(),
        _ => format!("tracer: attaching: {} so far", count(adopted, "process")),
    }
}

/// The line while tracer looks who holds the watched objects open, unless it is to be quiet.
pub(super) fn surveying(quiet: bool, events: &EventRing) -> Waiting {
    let arrived = events.arrived();
    Waiting::start(quiet, move || {
        let found = count(arrived.holders(), "open file");
        format!("tracer: looking who has the output open: {found} so far")
    })
}

/// A reader that says on standard error how far it is, if that is a terminal.
pub(super) struct Progress<R> {
    inner: R,
    /// Name of the file, escaped.
    name: String,
    /// Its size in bytes.
    size: u64,
    done: u64,
    line: Line,
}

impl<R> Progress<R> {
    /// Reads a file of `size` bytes, 0 if that is unknown.
    pub(super) fn new(inner: R, name: &str, size: u64) -> Self {
        Self { inner, name: escape(name).into(), size, done: 0, line: Line::new() }
    }
}

/// How much of a file was read.
fn reading(name: &str, done: u64, size: u64) -> String {
    match (u128::from(done) * 100).checked_div(u128::from(size)) {
        Some(percent) => format!("tracer: reading {name}: {percent} % of {}", bytes(size)),
        None => format!("tracer: reading {name}: {} so far", bytes(done)),
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        let Self { name, size, done, line, .. } = self;
        line.turn(|| reading(name, *done, *size));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_of_the_file_was_read() {
        assert_eq!(reading("run.session", 30, 120), "tracer: reading run.session: 25 % of 120 B");
        assert_eq!(reading("run.session", 5, 0), "tracer: reading run.session: 5 B so far");
        assert_eq!(Progress::new(io::empty(), "run\n.session", 0).name, "run\\n.session");
    }

    #[test]
    fn the_line_says_how_many_processes_were_found() {
        assert_eq!(attaching(0), "tracer: attaching");
        assert_eq!(attaching(31_000), "tracer: attaching: 31,000 processes so far");
    }

    #[test]
    fn bytes_pass_unchanged() {
        let mut text = String::new();
        Progress::new(&b"0123456789"[..], "", 10).read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
    }
}
