//! A program that runs during a measurement: starts it, waits for lines of its output, ends it.

use std::{
    io::Read,
    os::fd::AsFd,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process},
};
use xtask::command;

use super::procfs;

/// Time limit of each wait. tracer attaches to 50,000 processes in seconds, and its report takes longer.
const DEADLINE: Duration = Duration::from_secs(120);
/// Time after which an interrupt is repeated.
const INTERRUPT_AGAIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// A stream that sleeps in `poll(2)`. A `read` that sleeps since before tracer attached would keep `sys_exit` attached
/// beside fexit.
struct Polled<F>(F);

impl<F: Read + AsFd> Read for Polled<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
        self.0.read(buffer)
    }
}

/// A running program, killed when dropped before its end.
pub(crate) struct Tool {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    output: Vec<String>,
}

impl Tool {
    /// Starts a program. Threads read its stdout and stderr, line by line.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        Self::start_with(Stdio::piped(), name, command)
    }

    /// The same with another stdin.
    pub(crate) fn start_with(
        stdin: Stdio,
        name: &'static str,
        command: &mut Command,
    ) -> Result<Self> {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            command::send_lines(Polled(stdout), sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            command::send_lines(Polled(stderr), sender);
        }
        Ok(Self { name, stdin: child.stdin.take(), child, lines, output: Vec::new() })
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stdin.
    pub(crate) fn input(&mut self) -> Result<&mut ChildStdin> {
        self.stdin.as_mut().with_context(|| format!("the stdin of {} is closed", self.name))
    }

    /// Waits for a line that contains `part`, and returns it.
    pub(crate) fn wait_for(&mut self, part: &str) -> Result<String> {
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => {
                    self.output.push(line.clone());
                    if line.contains(part) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "{} did not say `{part}` in {} s; it said: {}",
                    self.name,
                    DEADLINE.as_secs(),
                    self.last_lines()
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(
                    "{} ended before it said `{part}` ({}); it said: {}",
                    self.name,
                    self.child.wait()?,
                    self.last_lines()
                ),
            }
        }
    }

    /// Waits until `is` returns true for its pid. Errors say that it did not `what`.
    pub(crate) fn wait_until(&mut self, what: &str, is: impl Fn(u32) -> bool) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !is(self.pid()) {
            if let Some(status) = self.child.try_wait()? {
                self.output.extend(self.lines.iter());
                bail!("{} ended ({status}); it said: {}", self.name, self.last_lines());
            }
            if Instant::now() > deadline {
                bail!("{} did not {what} in {} s", self.name, DEADLINE.as_secs());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> Result<()> {
        interrupt(self.pid()).with_context(|| format!("cannot interrupt {}", self.name))
    }

    /// Sends SIGINT repeatedly until it ends, because bpftrace may miss a signal. Returns as [`Self::finish`].
    pub(crate) fn interrupt_until_end(self) -> Result<(ExitStatus, Vec<String>)> {
        self.interrupt()?;
        let mut last = Instant::now();
        self.finish_watched(|pid| {
            if last.elapsed() > INTERRUPT_AGAIN {
                // Fails if it has just ended, which the next `try_wait` finds.
                let _ = interrupt(pid);
                last = Instant::now();
            }
        })
    }

    /// Closes its stdin and waits for its end. Returns its exit status and all lines of its output.
    pub(crate) fn finish(self) -> Result<(ExitStatus, Vec<String>)> {
        self.finish_watched(|_| {})
    }

    /// Like [`Self::finish`]; calls `look` with the pid at intervals of [`PAUSE`].
    fn finish_watched(mut self, mut look: impl FnMut(u32)) -> Result<(ExitStatus, Vec<String>)> {
        self.stdin = None;
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            look(self.pid());
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("{} did not end in {} s", self.name, DEADLINE.as_secs());
            }
            thread::sleep(PAUSE);
        };
        self.output.extend(self.lines.iter());
        Ok((status, std::mem::take(&mut self.output)))
    }

    /// Like [`Self::finish`], and returns its peak resident memory in bytes.
    pub(crate) fn finish_measured(self) -> Result<(ExitStatus, Vec<String>, u64)> {
        let mut peak = 0;
        // `VmHWM` never decreases: the last value before the end is the peak.
        let look = |pid| peak = peak.max(procfs::status(pid, "VmHWM:").unwrap_or(0));
        let (status, output) = self.finish_watched(look)?;
        Ok((status, output, peak))
    }

    fn last_lines(&self) -> String {
        let start = self.output.len().saturating_sub(3);
        let words = self.output[start..].join(" / ");
        if words.is_empty() { "nothing".to_owned() } else { words }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn interrupt(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
    Ok(kill_process(pid, Signal::INT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Tool {
        // SIGINT may be ignored by the parent of the tests, and a shell cannot change that.
        let mut shell = Command::new("env");
        Tool::start("sh", shell.args(["--default-signal=INT", "sh", "-c", line])).unwrap()
    }

    #[test]
    fn a_line_is_waited_for_on_either_stream() {
        let mut tool = shell("echo one; echo two >&2; read x; echo three");
        assert_eq!(tool.wait_for("two").unwrap(), "two");
        let (status, output) = tool.finish().unwrap();
        assert!(status.success());
        assert!(output.contains(&"three".to_owned()), "{output:?}");
    }

    #[test]
    fn a_program_that_ends_early_is_quoted() {
        let error = shell("echo no such luck; exit 3").wait_for("attached").unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("exit status: 3") && message.contains("no such luck"),
            "{message}"
        );
    }

    #[test]
    fn an_interrupted_program_ends() {
        let mut tool =
            shell("trap 'echo stopped; exit' INT; echo ready; while :; do sleep .01; done");
        tool.wait_for("ready").unwrap();
        tool.interrupt().unwrap();
        let (_, output) = tool.finish().unwrap();
        assert_eq!(output.last().map(String::as_str), Some("stopped"));
    }
}
