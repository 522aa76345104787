//! A line on the terminal while a long file is read.

use std::{
    io::{self, IsTerminal as _, Read},
    time::{Duration, Instant},
};

use tracer_core::text::{escape, units::bytes};

use super::stderr::put;

/// A file that is read sooner has no line.
const SOON: Duration = Duration::from_secs(1);
/// How often the line changes.
const TURN: Duration = Duration::from_millis(250);

/// A reader that says on standard error how far it is, if that is a terminal.
pub(super) struct Progress<R> {
    inner: R,
    /// Name of the file, escaped.
    name: String,
    /// Its size in bytes.
    size: u64,
    done: u64,
    /// When the line is next written; `None` for never.
    due: Option<Instant>,
    is_shown: bool,
}

impl<R> Progress<R> {
    /// Reads a file of `size` bytes, 0 if that is unknown.
    pub(super) fn new(inner: R, name: &str, size: u64) -> Self {
        let due = io::stderr().is_terminal().then(|| Instant::now() + SOON);
        Self { inner, name: escape(name).into(), size, done: 0, due, is_shown: false }
    }

    fn line(&self) -> String {
        let Self { name, size, done, .. } = self;
        match (u128::from(*done) * 100).checked_div(u128::from(*size)) {
            Some(percent) => format!("tracer: reading {name}: {percent} % of {}", bytes(*size)),
            None => format!("tracer: reading {name}: {} so far", bytes(*done)),
        }
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.done += size as u64;
        let now = Instant::now();
        if self.due.is_some_and(|due| now >= due) {
            self.due = Some(now + TURN);
            self.is_shown = true;
            // A terminal that refuses the line does not stop the report.
            let _ = put(format!("\r\x1b[K{}", self.line()).as_bytes());
        }
        Ok(size)
    }
}

impl<R> Drop for Progress<R> {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = put(b"\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(done: u64, size: u64) -> String {
        let mut progress = Progress::new(io::empty(), "run\n.session", size);
        progress.done = done;
        progress.line()
    }

    #[test]
    fn the_line_says_how_much_of_the_file_was_read() {
        assert_eq!(at(30, 120), "tracer: reading run\\n.session: 25 % of 120 B");
        assert_eq!(at(5, 0), "tracer: reading run\\n.session: 5 B so far");
    }

    #[test]
    fn bytes_pass_unchanged() {
        let mut text = String::new();
        Progress::new(&b"0123456789"[..], "", 10).read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
    }
}
