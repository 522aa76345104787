//! The output of a command whose terminal is not the user's: its end is kept, and printed when the view is closed.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    thread::JoinHandle,
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::{
    sys::privileges::{self, Rights},
    top,
};

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
    /// `waits` is asked with the time since the terminal last took something.
    pub(in crate::app) fn print(self, waits: impl FnMut(Duration) -> bool) {
        if !self.thread.is_finished() {
            std::thread::sleep(super::LAST_MOMENTS);
        }
        if !self.thread.is_finished() {
            return;
        }
        let Ok(tail) = self.thread.join() else { return };
        let mut text = Vec::new();
        if tail.left_out > 0 {
            let left_out = tail.left_out;
            text = format!("tracer: {left_out} bytes of the command's output before this\n").into();
        }
        text.extend(tail.bytes);
        if let Err(error) = top::print(&text, waits) {
            tracing::warn!("cannot print the command's output: {error}");
        }
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
