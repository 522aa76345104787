//! A terminal for a program that draws on one, without a window: a thread reads what is drawn.

use std::{
    fs::File,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Each frame ends with a cursor that is hidden.
const HIDDEN: &[u8] = b"\x1b[?25l";
/// Columns and rows.
const SIZE: (u16, u16) = (120, 40);

/// The terminal.
pub(crate) struct Terminal {
    program: File,
    frames: Arc<AtomicU64>,
}

impl Terminal {
    /// Opens a terminal.
    pub(crate) fn open() -> Result<Self> {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        let name = ptsname(&own, Vec::new())?;
        let path = Path::new(name.to_str().context("a terminal whose name is no text")?);
        let program = File::options().read(true).write(true).open(path)?;
        let (ws_col, ws_row) = SIZE;
        tcsetwinsize(&program, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })?;
        let frames = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&frames);
        thread::spawn(move || count(File::from(own), &counted));
        Ok(Self { program, frames })
    }

    /// A command that has this as its terminal, and runs a program whose arguments are to be added.
    pub(crate) fn command(&self, program: &Path) -> Result<(Command, Stdio)> {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).env("TERM", "xterm");
        Ok((command, self.program.try_clone()?.into()))
    }

    /// Number of frames so far.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}

/// Counts frames until no program has the terminal.
fn count(mut terminal: impl Read, frames: &AtomicU64) {
    let (mut buffer, mut matched) = ([0; 4096], 0);
    while let Ok(size @ 1..) = terminal.read(&mut buffer) {
        for byte in &buffer[..size] {
            matched = if *byte == HIDDEN[matched] {
                matched + 1
            } else {
                usize::from(*byte == HIDDEN[0])
            };
            if matched == HIDDEN.len() {
                frames.fetch_add(1, Ordering::Relaxed);
                matched = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_wherever_reads_cut_them() {
        let frames = AtomicU64::new(0);
        count(&b"\x1b[?25h\x1b[?25l text \x1b\x1b[?25l\x1b[?2"[..], &frames);
        assert_eq!(frames.load(Ordering::Relaxed), 2);
        let long = [&[b'x'; 4094][..], HIDDEN].concat();
        count(long.as_slice(), &frames);
        assert_eq!(frames.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_program_has_it_as_its_terminal() {
        let terminal = Terminal::open().unwrap();
        let (mut command, stdin) = terminal.command(Path::new("sh")).unwrap();
        let command = command.args(["-c", "stty size </dev/tty; printf '\\033[?25l' >/dev/tty"]);
        let output = command.stdin(stdin).stderr(Stdio::inherit()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "40 120\n");
        while terminal.frames() == 0 {
            thread::yield_now();
        }
    }
}
