//! A terminal of a test: tmux shows what a user would see.

use std::{
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{deadline::DEADLINE, procfs::children_of};

/// How often the screen is looked at.
const TURN: Duration = Duration::from_millis(50);

/// A tmux server with one window. Dropping it ends the server and what runs in it.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a shell line in a terminal of this size, in a directory. What it printed stays on the screen.
    pub fn run(line: &str, (width, height): (u16, u16), directory: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: format!("tracer-test-{}-{number}", std::process::id()) };
        let line = format!("echo before; {line}; echo \"EXIT $?\"; exec sleep 1000");
        let (width, height) = (width.to_string(), height.to_string());
        let start = ["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, "-c"];
        let directory = directory.to_str().context("a path that is no text")?;
        terminal.tmux(&[&start[..], &[directory, "sh", "-c", &line]].concat())?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(arguments);
        let Output { status, stdout, stderr } = command.output().context("cannot run tmux")?;
        let error = String::from_utf8_lossy(&stderr);
        ensure!(status.success(), "tmux {arguments:?}: {error}");
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// The text on the screen.
    pub fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with the escape sequences of colours and styles.
    pub fn styled(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Presses keys, by the names that tmux has for them.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Gives the terminal another size.
    pub fn resize(&self, width: u16, height: u16) -> Result<()> {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]).map(drop)
    }

    /// Waits until the screen is as it should be. Returns it.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let began = Instant::now();
        loop {
            let screen = self.screen()?;
            if is_it(&screen) {
                return Ok(screen);
            }
            if began.elapsed() > *DEADLINE {
                bail!("timed out waiting for {what}; the screen has:\n{screen}");
            }
            thread::sleep(TURN);
        }
    }

    /// The pid of the program that the shell line runs now.
    pub fn program(&self) -> Result<u32> {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"])?.trim().parse()?;
        children_of(shell)?.first().copied().context("the shell runs no program")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails if the server has ended.
        let _ = self.tmux(&["kill-server"]);
    }
}
