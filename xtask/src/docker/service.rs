//! A daemon that a task starts and stops.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::command;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// Lines of a log in an error message.
const LOG_LINES: usize = 15;

/// A running daemon; dropping it stops the daemon.
pub(crate) struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts a daemon that logs into the directory `logs`, and waits until `is_ready` returns true.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        logs: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self> {
        fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().context("cannot duplicate a file descriptor")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut service = Self { name, child, log };
        service.wait_until(is_ready)?;
        Ok(service)
    }

    fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once: {status}\n{}", self.name, self.end_of_log());
            }
            if Instant::now() > deadline {
                let seconds = READY_WITHIN.as_secs();
                bail!("{} did not answer in {seconds} s\n{}", self.name, self.end_of_log());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        format!("end of {}:\n{end}", self.log.display())
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // On SIGTERM dockerd stops its containers and its containerd. The standard library can send SIGKILL only,
        // so the shell sends it.
        let pid = self.child.id();
        let asked =
            command::succeeds(Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]));
        if !(asked && self.ends_within(STOPPED_WITHIN)) {
            command::say(&format!("{} (pid {pid}) does not stop: killing it", self.name));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_ends_at_once_is_reported_with_its_log() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck; exit 4"]);
        let error = Service::start("unlucky", &mut command, logs.path(), || false).err().unwrap();
        let message = error.to_string();
        assert!(message.contains("unlucky ended at once: exit status: 4"), "{message}");
        assert!(message.contains("no such luck"), "{message}");
    }

    #[test]
    fn dropping_a_service_stops_it() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let service = Service::start("sleeper", command.arg("100"), logs.path(), || true).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", service.child.id()));
        assert!(proc.exists());
        drop(service);
        assert!(!proc.exists());
    }
}
