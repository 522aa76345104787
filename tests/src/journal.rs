//! The journal of this machine: the running journald, or one that the test starts.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::deadline::{OwnedChild, wait_until};

/// Where it takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The program.
const JOURNALD: &str = "/lib/systemd/systemd-journald";
/// What journald makes where none has run, in the order of their removal.
const MADE: [&str; 2] = ["/run/systemd/journal", "/run/log/journal"];

/// A journald. One that the test started ends with it, and its files are removed.
#[derive(Debug)]
pub struct Journald {
    own: Option<OwnedChild>,
}

impl Journald {
    /// Finds or starts it.
    pub fn start() -> Result<Self> {
        if is_there() {
            return Ok(Self { own: None });
        }
        for path in MADE {
            ensure!(!Path::new(path).exists(), "{path} is there, and no journald");
        }
        let mut command = Command::new(JOURNALD);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let own = Some(OwnedChild::spawn(&mut command, "systemd-journald")?);
        let journald = Self { own };
        wait_until("journald", || Ok(is_there().then_some(())))?;
        Ok(journald)
    }

    /// Whether this one belongs to the test, so that it can be stopped.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Stops it from running, as a slow disk would, or lets it go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.own.as_ref().context("not the test's journald")?.signal(signal)
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        if let Some(mut own) = self.own.take() {
            // One that a test stopped would not end.
            let _ = own.signal(Signal::CONT);
            let _ = own.signal(Signal::TERM);
            let _ = own.wait();
            for path in MADE {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

fn is_there() -> bool {
    UnixDatagram::unbound().is_ok_and(|socket| socket.connect(SOCKET).is_ok())
}

/// The entries that match, as `journalctl -o json` prints them.
pub fn journalctl(arguments: &[&str]) -> Result<Vec<Value>> {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--all", "-o", "json"]).args(arguments);
    let output = command.output().context("cannot start journalctl")?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).context("no JSON")).collect()
}
