//! Lines on standard error: live lines and the log. A thread writes them, so that a reader that stands still stops
//! nothing else. Lines that find no room are counted.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::sys::privileges::{self, Rights};

/// How many lines can wait: a few seconds of a terminal's speed.
const WAITING: usize = 4096;
/// How often [`settle`] looks.
const TURN: Duration = Duration::from_millis(5);

/// `None` until the thread runs: then lines are written directly.
static LINES: OnceLock<Lines> = OnceLock::new();

struct Lines {
    sender: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Lines that the thread was given, and lines that it has written.
    given: AtomicU64,
    written: AtomicU64,
    /// Lines that found no room since the thread last said so.
    left_out: AtomicU64,
}

/// Starts the thread.
///
/// # Errors
/// An error if the system allows no further thread.
pub(super) fn start() -> io::Result<()> {
    let (sender, lines) = sync_channel(WAITING);
    let counts = Arc::new(Counts::default());
    let theirs = Arc::clone(&counts);
    privileges::spawn("tracer-stderr", Rights::None, move || write_all(&lines, &theirs))?;
    // Only tests start it twice.
    let _ = LINES.set(Lines { sender, counts });
    Ok(())
}

/// Writes a line to standard error. Does nothing if standard error is closed.
pub(super) fn say(line: &str) {
    give(format!("{line}\n").into_bytes());
}

fn give(line: Vec<u8>) {
    let Some(lines) = LINES.get() else {
        let _ = put(&line);
        return;
    };
    match lines.sender.try_send(line) {
        Ok(()) => lines.counts.given.fetch_add(1, Ordering::Relaxed),
        Err(_) => lines.counts.left_out.fetch_add(1, Ordering::Relaxed),
    };
}

fn write_all(lines: &Receiver<Vec<u8>>, counts: &Counts) {
    for line in lines {
        let left_out = counts.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let words =
                format!("tracer: {left_out} lines left out: standard error is read too slowly\n");
            let _ = put(words.as_bytes());
        }
        let _ = put(&line);
        counts.written.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until all lines are written, or until `gives_up` says so; it is told for how long no line was written.
pub(super) fn settle(mut gives_up: impl FnMut(Duration) -> bool) {
    let Some(Lines { counts, .. }) = LINES.get() else { return };
    let (mut seen, mut since) = (counts.written.load(Ordering::Relaxed), Instant::now());
    while seen < counts.given.load(Ordering::Relaxed) && !gives_up(since.elapsed()) {
        thread::sleep(TURN);
        let written = counts.written.load(Ordering::Relaxed);
        if written != seen {
            (seen, since) = (written, Instant::now());
        }
    }
}

/// The destination of the log, one line for each call.
pub(super) struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        give(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A standard stream for a report: without lines in between, and with errors.
pub(super) struct Direct(pub(super) BorrowedFd<'static>);

impl io::Write for Direct {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put_to(self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to standard error without its lock: a blocked terminal must not stop the rest of tracer.
///
/// # Errors
/// The system's error.
pub(super) fn put(text: &[u8]) -> io::Result<()> {
    put_to(rustix::stdio::stderr(), text)
}

/// Writes to a standard stream, which a traced program may have made non-blocking.
fn put_to(stream: BorrowedFd<'static>, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match rustix::io::write(stream, text) {
            Ok(taken) => text = text.get(taken..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
