//! Lines to a standard stream. A thread writes them, so that a reader that stands still stops nothing else. Lines that
//! find no room are counted.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
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
/// How many bytes can wait. One line can have the arguments of a command.
const BYTES_WAITING: u64 = 8 << 20;
/// How often [`Lines::settle`] looks.
const TURN: Duration = Duration::from_millis(5);

/// Whether lines wait, because a view has the terminal.
static IS_HELD: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// A stream, and the line that counts those that found no room.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    /// Name of the thread.
    pub(super) name: &'static str,
    /// The open stream.
    pub(super) fd: BorrowedFd<'static>,
    /// The line, with its line feed.
    pub(super) left_out: fn(u64) -> Vec<u8>,
}

/// Lines on their way.
pub(super) struct Lines {
    stream: Stream,
    sender: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Lines that the thread was given, and lines that it has written.
    given: AtomicU64,
    written: AtomicU64,
    /// Bytes of the lines that wait.
    bytes: AtomicU64,
    /// Lines that found no room since the last line that says so.
    left_out: AtomicU64,
}

impl Lines {
    /// Starts the thread.
    ///
    /// # Errors
    /// An error if the system allows no further thread.
    pub(super) fn start(stream: Stream) -> io::Result<Self> {
        let (sender, lines) = sync_channel(WAITING);
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        privileges::spawn(stream.name, Rights::None, move || write_all(&lines, &theirs, stream))?;
        Ok(Self { stream, sender, counts })
    }

    /// Has a line written, if there is room. Does not wait.
    pub(super) fn give(&self, line: Vec<u8>) {
        let length = line.len() as u64;
        let waiting = self.counts.bytes.fetch_add(length, Ordering::Relaxed);
        if waiting + length <= BYTES_WAITING && self.sender.try_send(line).is_ok() {
            self.counts.given.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counts.bytes.fetch_sub(length, Ordering::Relaxed);
            self.counts.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines are written, or until `gives_up` says so; it is told for how long no line was written.
    pub(super) fn settle(&self, mut gives_up: impl FnMut(Duration) -> bool) {
        let counts = &self.counts;
        let (mut seen, mut since) = (counts.written.load(Ordering::Relaxed), Instant::now());
        while seen < counts.given.load(Ordering::Relaxed) && !gives_up(since.elapsed()) {
            thread::sleep(TURN);
            let written = counts.written.load(Ordering::Relaxed);
            if written != seen {
                (seen, since) = (written, Instant::now());
            }
        }
    }

    /// Waits until all lines are written, however long that takes, and says how many were left out at the end.
    ///
    /// # Errors
    /// The system's error about that last line.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.settle(|_| false);
        say_left_out(&self.counts, self.stream)
    }
}

/// Lines wait from here on. Those that find no room are counted.
pub(super) fn hold() {
    *IS_HELD.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

/// Has the lines written that waited.
pub(super) fn release() {
    *IS_HELD.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    IS_HELD.1.notify_all();
}

fn wait_while_held() {
    let is_held = IS_HELD.0.lock().unwrap_or_else(PoisonError::into_inner);
    drop(IS_HELD.1.wait_while(is_held, |is_held| *is_held));
}

fn write_all(lines: &Receiver<Vec<u8>>, counts: &Counts, stream: Stream) {
    for line in lines {
        wait_while_held();
        let _ = say_left_out(counts, stream);
        let _ = put(stream.fd, &line);
        counts.bytes.fetch_sub(line.len() as u64, Ordering::Relaxed);
        counts.written.fetch_add(1, Ordering::Relaxed);
    }
}

fn say_left_out(counts: &Counts, stream: Stream) -> io::Result<()> {
    match counts.left_out.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        lines => put(stream.fd, &(stream.left_out)(lines)),
    }
}

/// Writes to a stream without the lock of the standard library: a blocked terminal must not stop the rest of tracer.
/// Traced programs may have made it non-blocking.
///
/// # Errors
/// The system's error.
pub(super) fn put(stream: BorrowedFd<'_>, mut text: &[u8]) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::fd::OwnedFd,
    };

    use super::*;

    #[test]
    fn a_reader_that_stands_still_costs_lines_which_are_counted_and_nothing_else() {
        let (reader, writer) = io::pipe().unwrap();
        let writer: &'static OwnedFd = Box::leak(Box::new(OwnedFd::from(writer)));
        let left_out = |lines: u64| format!("left out {lines}\n").into_bytes();
        let fd = std::os::fd::AsFd::as_fd(writer);
        let lines = Lines::start(Stream { name: "test", fd, left_out }).unwrap();
        let (began, most) = (Instant::now(), 100_000_u64);
        (0..most).for_each(|number| lines.give(format!("{number:100}\n").into_bytes()));
        assert!(began.elapsed() < Duration::from_secs(5), "it waited");
        let finish = thread::spawn(move || {
            lines.finish().unwrap();
            lines.give(b"end\n".to_vec());
            lines.finish().unwrap();
        });
        let (mut written, mut counted) = (0_u64, 0_u64);
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            match line.strip_prefix("left out ") {
                _ if line == "end" => break,
                Some(number) => counted += number.parse::<u64>().unwrap(),
                None => written += 1,
            }
        }
        finish.join().unwrap();
        assert!(written >= WAITING as u64 && counted > 0, "{written} and {counted}");
        assert_eq!(written + counted, most);
    }
}
