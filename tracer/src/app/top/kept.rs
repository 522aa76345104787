//! The output of a command whose terminal is not the user's: its end is kept, and printed when the view is closed.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    thread::JoinHandle,
};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::sys::privileges::{self, Rights};

/// The most bytes that are kept.
const MOST: usize = 1 << 20;

/// Collects output until its writers have closed it.
#[derive(Debug)]
pub(in crate::app) struct KeptOutput {
    thread: JoinHandle<Tail>,
}

/// The end of what was written.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    /// Number of bytes before it.
    left_out: u64,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let over = self.bytes.len().saturating_sub(MOST);
        self.bytes.drain(..over);
        self.left_out += over as u64;
    }
}

impl KeptOutput {
    /// Starts to collect. Returns the end to write to.
    pub(super) fn start() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = privileges::spawn("top-output", Rights::None, move || collect(reader.into()))?;
        Ok((Self { thread }, writer))
    }

    /// Prints what was kept on the terminal, once it is closed. Does nothing if that takes too long: a process holds it.
    pub(in crate::app) fn print(self, mut terminal: &File) -> io::Result<()> {
        if !self.thread.is_finished() {
            std::thread::sleep(super::LAST_MOMENTS);
        }
        if !self.thread.is_finished() {
            return Ok(());
        }
        let Ok(mut tail) = self.thread.join() else { return Ok(()) };
        if tail.left_out > 0 {
            let words =
                format!("tracer: {} bytes of the command's output before this\n", tail.left_out);
            terminal.write_all(words.as_bytes())?;
        }
        terminal.write_all(tail.bytes.make_contiguous())?;
        terminal.flush()
    }
}

fn collect(mut reader: File) -> Tail {
    let (mut tail, mut buffer) = (Tail::default(), vec![0; 16 << 10]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return tail,
            Ok(length) => tail.add(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return tail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_rest_is_counted() {
        let mut tail = Tail::default();
        tail.add(&vec![b'a'; MOST]);
        tail.add(b"end");
        assert_eq!((tail.bytes.len(), tail.left_out), (MOST, 3));
        assert!(tail.bytes.make_contiguous().ends_with(b"aend"));
    }
}
