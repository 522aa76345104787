//! Lines on standard error: live lines and the log.

use std::{io, os::fd::BorrowedFd, sync::OnceLock, time::Duration};

use super::lines::{self, Lines, Stream};

/// `None` until the thread runs: then lines are written directly.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts the thread that writes them.
///
/// # Errors
/// An error if the system allows no further thread.
pub(super) fn start() -> io::Result<()> {
    let stream = Stream { name: "tracer-stderr", fd: rustix::stdio::stderr(), left_out };
    // Only tests start it twice.
    let _ = LINES.set(Lines::start(stream)?);
    Ok(())
}

fn left_out(lines: u64) -> Vec<u8> {
    format!("tracer: {lines} lines left out: standard error is read too slowly\n").into_bytes()
}

/// Writes a line to standard error. Does nothing if standard error is closed.
pub(super) fn say(line: &str) {
    give(format!("{line}\n").into_bytes());
}

/// Writes a line that `--quiet` leaves out.
pub(super) fn note(quiet: bool, line: &str) {
    if !quiet {
        say(line);
    }
}

/// As [`say`], for a line with its line feed.
pub(super) fn give(line: Vec<u8>) {
    match LINES.get() {
        Some(lines) => lines.give(line),
        None => drop(put(&line)),
    }
}

/// Waits until all lines are written, or until `gives_up` says so; it is told for how long no line was written.
pub(super) fn settle(gives_up: impl FnMut(Duration) -> bool) {
    if let Some(lines) = LINES.get() {
        lines.settle(gives_up);
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
        lines::put(self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to standard error at once.
///
/// # Errors
/// The system's error.
pub(super) fn put(text: &[u8]) -> io::Result<()> {
    lines::put(rustix::stdio::stderr(), text)
}
