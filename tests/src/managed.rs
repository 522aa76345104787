//! Commands run by the faulty process manager ([`crate::goproc`]), which tracer traces.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    deadline::{OwnedChild, describe, wait_until},
    expect,
    gate::{GATE_ENV, Gate},
    goproc::{Account, Behaviour, LATER_ENV, LogFormat, Stage, Stream, word},
    procfs::{children_of, named},
    reader::{Reader, Received},
    report::{Exit, Finding, Object, Report},
    tracer::{Outcome, RunningTracer, Tracer},
    truth::TRUTH_ENV,
    workload::sibling_binary,
};

/// Configuration of a manager and of its trace.
#[derive(Clone, Debug)]
pub struct Goproc {
    behaviour: Behaviour,
    bytes: usize,
    log: Option<LogFormat>,
    in_pid_namespace: bool,
    follows: Option<&'static str>,
    variables: Vec<(String, String)>,
    arguments: Vec<OsString>,
}

impl Goproc {
    /// A manager with this behaviour and without a log.
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            bytes: 0,
            log: None,
            in_pid_namespace: false,
            follows: None,
            variables: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Sets the byte count that the behaviour uses (`--bytes`).
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Makes it write a worker's log, which tracer reads (`--worker-log`).
    pub fn logging(mut self, format: LogFormat) -> Self {
        self.log = Some(format);
        self
    }

    /// Runs it in a new pid namespace, as in a container.
    pub fn in_pid_namespace(mut self) -> Self {
        self.in_pid_namespace = true;
        self
    }

    /// Sets tracer's `--follow-readers`.
    pub fn following(mut self, hops: &'static str) -> Self {
        self.follows = Some(hops);
        self
    }

    /// Sets an environment variable of the manager and its command.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument of tracer.
    pub fn tracer_arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Traces the manager while it runs `argv` to its end.
    pub fn trace(&self, argv: &[&str]) -> Result<Managed> {
        self.begin(argv)?.finish()
    }

    /// Starts the manager, attaches tracer, and lets the manager run `argv`.
    pub fn begin(&self, argv: &[&str]) -> Result<TracedGoproc> {
        let mut running = self.spawn(argv)?;
        let mut tracer = Tracer::on_pid(running.manager_pid()?);
        if let Some(log) = &running.log {
            tracer = tracer.arg("--worker-log").arg(log);
        }
        if let Some(hops) = self.follows {
            tracer = tracer.args(["--follow-readers", hops]);
        }
        let tracer = tracer.args(&self.arguments).start()?;
        running.gate.open()?;
        Ok(TracedGoproc { running, tracer })
    }

    /// Starts the manager, which waits at its gate, without a tracer.
    pub fn spawn(&self, argv: &[&str]) -> Result<RunningGoproc> {
        let directory = tempfile::tempdir()?;
        let (gate, later) = (Gate::create()?, Gate::create()?);
        let account = directory.path().join("account.json");
        let mut command = self.program()?;
        command
            .args(["--behaviour", &word(&self.behaviour), "--bytes", &self.bytes.to_string()])
            .arg("--account")
            .arg(&account);
        let log = self.log.map(|_| directory.path().join("worker.log"));
        if let (Some(path), Some(format)) = (&log, self.log) {
            fs::write(path, "")?;
            command.arg("--log").arg(path).args(["--log-format", &word(&format)]);
        }
        command
            .arg("--")
            .args(argv)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env(GATE_ENV, gate.path())
            .env(LATER_ENV, later.path())
            .env(TRUTH_ENV, directory.path().join("truth.jsonl"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let name = format!("goproc ({}) of {}", word(&self.behaviour), argv.join(" "));
        let mut child = OwnedChild::spawn(&mut command, &name)?;
        let stdout = Reader::of_stdout(&mut child)?;
        Ok(RunningGoproc { child, gate, later, stdout, account, log, name, directory })
    }

    fn program(&self) -> Result<Command> {
        let goproc = sibling_binary("goproc")?;
        if !self.in_pid_namespace {
            return Ok(Command::new(goproc));
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--"]).arg(goproc);
        Ok(unshare)
    }
}

/// A running manager.
#[derive(Debug)]
pub struct RunningGoproc {
    child: OwnedChild,
    gate: Gate,
    later: Gate,
    stdout: Reader,
    account: PathBuf,
    log: Option<PathBuf>,
    name: String,
    directory: TempDir,
}

impl RunningGoproc {
    /// The manager's pid in the namespace of the `/proc` mount.
    pub fn manager_pid(&self) -> Result<u32> {
        let started = self.child.pid();
        wait_until(&format!("{} to run", self.name), || {
            let managers = named("goproc")?;
            if managers.contains(&started) {
                return Ok(Some(started));
            }
            let children = children_of(started)?;
            Ok(children.into_iter().find(|child| managers.contains(child)))
        })
    }

    /// Lets the manager start its command.
    pub fn open_gate(&mut self) -> Result<()> {
        self.gate.open()
    }

    /// Lets a command continue that waits at the FIFO [`LATER_ENV`].
    pub fn resume_command(&mut self) -> Result<()> {
        self.later.open()
    }

    /// Waits until the manager has reached this stage; returns its account.
    pub fn account_at(&self, stage: Stage) -> Result<Account> {
        account_at(&self.account, stage).with_context(|| self.name.clone())
    }

    /// The worker's log so far; empty without a log.
    pub fn log_text(&self) -> Result<String> {
        let text = self.log.as_ref().map(fs::read_to_string).transpose();
        Ok(text.context("cannot read the worker's log")?.unwrap_or_default())
    }

    /// Kills the manager, but not its descendants.
    pub fn kill(&mut self) -> Result<()> {
        self.child.signal(Signal::KILL)?;
        self.child.wait().map(drop)
    }

    /// Waits until it ends; returns its account and what it forwarded to its stdout.
    pub fn finish(mut self) -> Result<(Account, Received)> {
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {}", self.name, describe(status));
        let account = self.account_at(Stage::Done)?;
        let relayed = self.stdout.finish()?;
        drop(self.directory);
        Ok((account, relayed))
    }
}

/// Waits until a manager has reached this stage; returns the account in this file.
pub fn account_at(path: &Path, stage: Stage) -> Result<Account> {
    wait_until(&format!("a manager to reach the stage {stage:?}"), || {
        let Ok(text) = fs::read(path) else { return Ok(None) };
        let account: Account = serde_json::from_slice(&text)?;
        Ok((account.stage >= stage).then_some(account))
    })
}

/// A running manager and its running tracer.
#[derive(Debug)]
pub struct TracedGoproc {
    /// The manager.
    pub running: RunningGoproc,
    /// The tracer.
    pub tracer: RunningTracer,
}

impl TracedGoproc {
    /// Waits for tracer, which ends with the whole process tree, then for the manager. The other
    /// order would kill descendants that outlive the manager.
    pub fn finish(self) -> Result<Managed> {
        let name = self.running.name.clone();
        let tracer = self.tracer.finish().with_context(|| format!("tracing {name}"))?;
        let (account, relayed) = self.running.finish()?;
        Managed::new(name, account, relayed, tracer)
    }

    /// Interrupts tracer while the manager and its command run, then kills them.
    pub fn interrupt(self) -> Result<Managed> {
        let account = self.running.account_at(Stage::Started)?;
        self.tracer.interrupt()?;
        let tracer = self.tracer.finish()?;
        Managed::new(self.running.name.clone(), account, Received::default(), tracer)
    }

    /// Waits for tracer after the manager was killed. The account is the last one it wrote.
    pub fn after_kill(self) -> Result<Managed> {
        let account = self.running.account_at(Stage::Started)?;
        let tracer = self.tracer.finish()?;
        Managed::new(self.running.name.clone(), account, Received::default(), tracer)
    }
}

/// A traced command of the faulty manager.
#[derive(Debug)]
pub struct Managed {
    /// Name of the run, for messages.
    pub name: String,
    /// The manager's record.
    pub account: Account,
    /// What the manager forwarded to its own stdout.
    pub relayed: Received,
    /// Tracer's exit status and output.
    pub tracer: Outcome,
    /// Tracer's report.
    pub report: Report,
}

impl Managed {
    fn new(name: String, account: Account, relayed: Received, tracer: Outcome) -> Result<Self> {
        let report = tracer.report().with_context(|| format!("tracing {name}"))?;
        Ok(Self { name, account, relayed, tracer, report })
    }

    /// Checks a run in which the manager closed its pipes itself. For each pipe, the written bytes
    /// are the read bytes plus the unread ones, and the report has these numbers. The ledger
    /// balances, tracer lost nothing, and the reported exit status is the one the manager saw.
    pub fn check(&self) -> Result<()> {
        let Account { pid, code, signal, stdout, stderr, .. } = &self.account;
        let exit = Exit { code: *code, signal: *signal };
        expect::no_losses(&self.report)
            .and_then(|()| self.check_stream(stdout, self.account.total_stdout_read()))
            .and_then(|()| self.check_stream(stderr, stderr.read))
            .and_then(|()| self.report.check_exit(*pid, exit))
            .with_context(|| format!("{}; stderr of tracer: {}", self.name, self.tracer.stderr))
    }

    fn check_stream(&self, stream: &Stream, read: u64) -> Result<()> {
        let Stream { object: id, unread, .. } = stream;
        let unread = unread.with_context(|| format!("{id} was not closed"))?;
        let written = self.report.written_to(id);
        ensure!(
            written == read + unread,
            "{id}: {read} bytes were read, {unread} were left unread, reported as written are {written}"
        );
        let Some(object) = self.report.object(id) else {
            ensure!(written == 0, "{id}: {written} bytes were written, and it is not listed");
            return Ok(());
        };
        let reported = (object.written, object.read, object.unread);
        ensure!(
            reported == (Some(read + unread), Some(read), Some(unread)),
            "{id}: {read} bytes were read, {unread} were left unread, reported is {reported:?}"
        );
        ensure!(object.balanced != Some(false), "{id} does not balance: {object:?}");
        Ok(())
    }

    /// The first finding. It must come from this rule, and tracer's exit code must match the findings.
    pub fn headline(&self, rule: &str) -> Result<&Finding> {
        let finding = self.report.headline(rule).with_context(|| self.name.clone())?;
        self.report.check_exit_code(self.tracer.status.code())?;
        Ok(finding)
    }

    /// The stdout pipe in the report.
    pub fn stdout(&self) -> Result<&Object> {
        let id = &self.account.stdout.object;
        self.report.object(id).with_context(|| format!("{id} is not listed"))
    }
}
