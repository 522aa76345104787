//! Runs the tracer, waits until it is attached, and reads its report.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read},
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
    privilege,
    report::{Report, SCHEMA},
};

/// Names the tracer to test.
pub const TRACER_ENV: &str = "TRACER_BIN";

/// Tells the tracer how to be started by the kernel (`--hooks`).
pub const HOOKS_ENV: &str = "TRACER_TEST_HOOKS";

/// How the line starts that says every hook is attached and running processes are adopted.
pub const ATTACHED: &str = "tracer: attached";

/// The tracer under test: `TRACER_BIN`, else this checkout's release build.
pub fn binary() -> Result<PathBuf> {
    let path = env::var_os(TRACER_ENV).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/tracer"),
        PathBuf::from,
    );
    ensure!(path.is_file(), "no tracer at {}: build it or set {TRACER_ENV}", path.display());
    Ok(path.canonicalize()?)
}

/// A tracer's command line, to be started.
#[derive(Debug, Default)]
pub struct Tracer {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    has_closed_stdout: bool,
    stdin: Option<File>,
    cgroup: Option<PathBuf>,
}

impl Tracer {
    /// Traces a process and what descends from it.
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

    /// Adds several.
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(OsString::from));
        self
    }

    /// Sets a variable for the tracer and, if it starts one, its command.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives it this as standard input.
    pub fn with_stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// It joins this cgroup before it begins.
    pub fn in_cgroup(mut self, path: &Path) -> Self {
        self.cgroup = Some(path.to_owned());
        self
    }

    /// Nobody reads its stdout, as behind a `head` that has ended.
    pub fn with_closed_stdout(mut self) -> Self {
        self.has_closed_stdout = true;
        self
    }

    /// Starts it and waits until it is attached.
    pub fn start(self) -> Result<RunningTracer> {
        let running = self.launch()?;
        running.wait_attached()
    }

    /// Starts it without waiting.
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
        command
            .args(["--format", "json"])
            .args(env::var(HOOKS_ENV).ok().map(|how| format!("--hooks={how}")))
            .args(&self.arguments)
            .envs(self.environment)
            .stdin(self.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let words = format!("tracer {}", PathBuf::from_iter(&self.arguments).display());
        let mut child = OwnedChild::spawn(&mut command, &words)?;
        let stdout = child.inner().stdout.take().context("stdout was piped")?;
        let stderr = child.inner().stderr.take().context("stderr was piped")?;
        Ok(RunningTracer {
            child,
            stdout: if self.has_closed_stdout {
                drop(stdout);
                collect(std::io::empty())
            } else {
                collect(stdout)
            },
            stderr: lines(stderr),
            said: Vec::new(),
        })
    }
}

/// A tracer at work.
#[derive(Debug)]
pub struct RunningTracer {
    child: OwnedChild,
    stdout: Receiver<std::io::Result<Vec<u8>>>,
    stderr: Receiver<String>,
    said: Vec<String>,
}

/// What a tracer left behind.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
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
                    self.said.push(line);
                    if attached {
                        return Ok(self);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the tracer did not say `{ATTACHED}` within {} s; it said: {:?}",
                    DEADLINE.as_secs(),
                    self.said
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(
                    "the tracer ended before it was attached ({}); it said: {:?}",
                    describe(self.child.wait()?),
                    self.said
                ),
            }
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Sends it any signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.child.signal(signal)
    }

    /// Kills it without a word, and nobody but it.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.child.wait()
    }

    /// Waits for its end.
    pub fn finish(self) -> Result<Outcome> {
        self.finish_within(*DEADLINE)
    }

    /// Waits for its end.
    pub fn finish_within(mut self, limit: Duration) -> Result<Outcome> {
        let status = match self.child.wait_for(limit) {
            Ok(status) => status,
            Err(error) => {
                self.said.extend(self.stderr.try_iter());
                return Err(error.context(format!("the tracer said: {:?}", self.said)));
            }
        };
        let stdout = self.stdout.recv_timeout(*DEADLINE).context("the tracer's stdout is open")?;
        self.said.extend(self.stderr.iter());
        Ok(Outcome {
            status,
            stdout: String::from_utf8(stdout?).context("the report is not UTF-8")?,
            stderr: self.said.join("\n"),
        })
    }
}

impl Outcome {
    /// The report on stdout.
    pub fn report(&self) -> Result<Report> {
        parse(&self.stdout).with_context(|| {
            format!("the tracer ended with {}; stderr: {}", describe(self.status), self.stderr)
        })
    }
}

/// Reads a JSON report.
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

/// The lines that something says, as they come.
pub(crate) fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (report, said) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if report.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    said
}
