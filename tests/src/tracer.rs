//! Runs tracer, waits until it is attached, and reads its report.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::{
    deadline::{DEADLINE, OwnedChild, describe},
    fexit::{self, ATTACH_ENV, Polled},
    privilege,
    report::{Report, SCHEMA},
};

/// Environment variable with the path of the tracer under test.
pub const TRACER_ENV: &str = "TRACER_BIN";

/// Environment variable with the value for tracer's `--hooks`.
pub const HOOKS_ENV: &str = "TRACER_TEST_HOOKS";

/// Start of the line that tracer prints when all hooks are attached and processes are adopted.
pub const ATTACHED: &str = "tracer: attached";

/// Path of the tracer under test: `TRACER_BIN`, else this checkout's release build.
pub fn binary() -> Result<PathBuf> {
    let path = env::var_os(TRACER_ENV).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/tracer"),
        PathBuf::from,
    );
    ensure!(path.is_file(), "no tracer at {}: build it or set {TRACER_ENV}", path.display());
    Ok(path.canonicalize()?)
}

/// Configuration of a tracer process.
#[derive(Debug, Default)]
pub struct Tracer {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    has_closed_stdout: bool,
    stdin: Option<File>,
    cgroup: Option<PathBuf>,
}

impl Tracer {
    /// Traces a process and its descendants.
    pub fn on_pid(pid: u32) -> Self {
        Self::default().arg("--pid").arg(pid.to_string())
    }

    /// Traces all members of a cgroup.
    pub fn on_cgroup(path: &Path) -> Self {
        Self::default().arg("--cgroup").arg(path)
    }

    /// Traces a container.
    pub fn on_container(name: &str) -> Self {
        Self::default().arg("--container").arg(name)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds several arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item: Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of tracer and of its command, if any.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets its standard input.
    pub fn with_stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Makes it join this cgroup before it starts.
    pub fn in_cgroup(mut self, path: &Path) -> Self {
        self.cgroup = Some(path.to_owned());
        self
    }

    /// Closes the read end of its stdout, as in `tracer | head`.
    pub fn with_closed_stdout(mut self) -> Self {
        self.has_closed_stdout = true;
        self
    }

    /// Starts it and waits until it is attached.
    pub fn start(self) -> Result<RunningTracer> {
        let running = self.launch()?;
        running.wait_attached()
    }

    /// Whether no `-o` names another place for the report.
    fn reports_to_stdout(&self) -> bool {
        let own = self.arguments.iter().take_while(|argument| *argument != "--");
        !own.into_iter().any(|argument| argument == "-o")
    }

    /// Starts it.
    pub fn launch(self) -> Result<RunningTracer> {
        privilege::require_root()?;
        let mut command = match &self.cgroup {
            None => Command::new(binary()?),
            Some(cgroup) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
                shell.arg(cgroup.join("cgroup.procs")).arg(binary()?);
                shell
            }
        };
        let names_it = self.arguments.iter().any(|argument| argument == "--attach");
        let attach = env::var(ATTACH_ENV).ok().filter(|_| !names_it);
        command
            .args(["--format", "json"])
            // The report of a command goes to stderr, which has the log.
            .args(self.reports_to_stdout().then_some(["-o", "-"]).into_iter().flatten())
            .args(env::var(HOOKS_ENV).ok().map(|how| format!("--hooks={how}")))
            .args(attach.map(|place| format!("--attach={place}")))
            .args(&self.arguments)
            .envs(self.environment)
            .stdin(self.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let words = format!("tracer {}", PathBuf::from_iter(&self.arguments).display());
        let mut child = OwnedChild::spawn(&mut command, &words)?;
        let (stdout, stderr) = (child.take_stdout()?, child.take_stderr()?);
        Ok(RunningTracer {
            child,
            stdout: if self.has_closed_stdout {
                drop(stdout);
                collect(std::io::empty())
            } else {
                collect(Polled::always(stdout))
            },
            stderr: lines(stderr),
            printed: Vec::new(),
        })
    }
}

/// A running tracer.
#[derive(Debug)]
pub struct RunningTracer {
    child: OwnedChild,
    stdout: Receiver<std::io::Result<Vec<u8>>>,
    stderr: Receiver<String>,
    printed: Vec<String>,
}

/// The result of a tracer process.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl RunningTracer {
    /// Waits for the line [`ATTACHED`].
    pub fn wait_attached(mut self) -> Result<Self> {
        loop {
            match self.stderr.recv_timeout(*DEADLINE) {
                Ok(line) => {
                    let attached = line.starts_with(ATTACHED);
                    self.printed.push(line);
                    if attached {
                        fexit::settle(self.pid());
                        return Ok(self);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "tracer did not print `{ATTACHED}` within {} s; it printed: {:?}",
                    DEADLINE.as_secs(),
                    self.printed
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(
                    "tracer ended before it was attached ({}); it printed: {:?}",
                    describe(self.child.wait()?),
                    self.printed
                ),
            }
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.child.signal(signal)
    }

    /// Kills it, but not its process group.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.child.wait()
    }

    /// Waits until it ends, for [`DEADLINE`] at most.
    pub fn finish(self) -> Result<Outcome> {
        self.finish_within(*DEADLINE)
    }

    /// Waits until it ends, for `limit` at most.
    pub fn finish_within(mut self, limit: Duration) -> Result<Outcome> {
        let status = match self.child.wait_for(limit) {
            Ok(status) => status,
            Err(error) => {
                self.printed.extend(self.stderr.try_iter());
                return Err(error.context(format!("tracer printed: {:?}", self.printed)));
            }
        };
        let stdout =
            self.stdout.recv_timeout(*DEADLINE).context("tracer's stdout is still open")?;
        self.printed.extend(self.stderr.iter());
        Ok(Outcome {
            status,
            stdout: String::from_utf8(stdout?).context("the report is not UTF-8")?,
            stderr: self.printed.join("\n"),
        })
    }
}

impl Outcome {
    /// Parses the report on stdout.
    pub fn report(&self) -> Result<Report> {
        parse(&self.stdout).with_context(|| {
            format!("tracer ended with {}; stderr: {}", describe(self.status), self.stderr)
        })
    }
}

/// Checks the exit status of a tracer that has reported: 0, or 1 for a finding.
pub fn check_status(status: ExitStatus) -> Result<()> {
    let has_reported = status.code().is_some_and(|code| code <= 1);
    ensure!(has_reported, "tracer ended with {}", describe(status));
    Ok(())
}

/// Parses a JSON report.
pub fn parse(text: &str) -> Result<Report> {
    let report: Report = serde_json::from_str(text)
        .with_context(|| format!("not a report: {}", text.chars().take(400).collect::<String>()))?;
    ensure!(report.schema == SCHEMA, "schema {} instead of {SCHEMA}", report.schema);
    Ok(report)
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<std::io::Result<Vec<u8>>> {
    let (report, done) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = from.read_to_end(&mut bytes).map(|_| bytes);
        let _ = report.send(result);
    });
    done
}

/// Sends each line of a stream as it arrives.
pub fn lines(from: impl Read + AsFd + Send + 'static) -> Receiver<String> {
    let (report, printed) = channel();
    thread::spawn(move || {
        for line in BufReader::new(Polled::always(from)).split(b'\n').map_while(Result::ok) {
            if report.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    printed
}
