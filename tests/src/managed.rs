//! Commands under the faulty process manager ([`crate::goproc`]), with the tracer on it.

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
    goproc::{Account, Behaviour, LATER_ENV, LogFormat, Stage, Stream},
    procfs::{children_of, named},
    reader::{Pace, Reader, Received},
    report::{Finding, Object, Report},
    tracer::{Outcome, RunningTracer, Tracer},
    truth::TRUTH_ENV,
    workload::sibling_binary,
};

/// A manager to be started.
#[derive(Clone, Debug)]
pub struct Goproc {
    behaviour: Behaviour,
    bytes: usize,
    log: Option<LogFormat>,
    has_own_pids: bool,
    follows: Option<&'static str>,
    variables: Vec<(String, String)>,
    arguments: Vec<OsString>,
}

impl Goproc {
    /// A manager that behaves like this and writes no log.
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            bytes: 0,
            log: None,
            has_own_pids: false,
            follows: None,
            variables: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// How many bytes its behaviour is about.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// It writes the worker's log, and the tracer gets it.
    pub fn logging(mut self, format: LogFormat) -> Self {
        self.log = Some(format);
        self
    }

    /// It runs in a pid namespace of its own, as in a container.
    pub fn with_own_pids(mut self) -> Self {
        self.has_own_pids = true;
        self
    }

    /// The tracer follows readers this far.
    pub fn following(mut self, hops: &'static str) -> Self {
        self.follows = Some(hops);
        self
    }

    /// Sets a variable for it and its command.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The tracer gets this argument as well.
    pub fn tracer_arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs `argv` from start to end with the tracer on the manager.
    pub fn trace(&self, argv: &[&str]) -> Result<Managed> {
        self.begin(argv)?.finish()
    }

    /// Starts the manager, attaches the tracer, and lets the manager run `argv`.
    pub fn begin(&self, argv: &[&str]) -> Result<UnderTrace> {
        let mut running = self.spawn(argv)?;
        let mut tracer = Tracer::on_pid(running.manager_pid()?);
        if let Some(log) = &running.log {
            tracer = tracer.arg("--worker-log").arg(log);
        }
        if let Some(hops) = self.follows {
            tracer = tracer.args(["--follow-readers", hops]);
        }
        tracer = self.arguments.iter().fold(tracer, Tracer::arg);
        let tracer = tracer.start()?;
        running.gate.open()?;
        Ok(UnderTrace { running, tracer })
    }

    /// Starts the manager, which waits at its gate.
    pub fn spawn(&self, argv: &[&str]) -> Result<RunningGoproc> {
        let directory = tempfile::tempdir()?;
        let later_directory = directory.path().join("later");
        fs::create_dir(&later_directory)?;
        let gate = Gate::create(directory.path())?;
        let later = Gate::create(&later_directory)?;
        let account = directory.path().join("account.json");
        let mut command = self.program()?;
        command
            .args(["--behaviour", self.behaviour.word(), "--bytes", &self.bytes.to_string()])
            .arg("--account")
            .arg(&account);
        let log = self.log.map(|_| directory.path().join("worker.log"));
        if let (Some(path), Some(format)) = (&log, self.log) {
            fs::write(path, "")?;
            command.arg("--log").arg(path).args(["--log-format", format.word()]);
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
        let name = format!("goproc ({}) of {}", self.behaviour.word(), argv.join(" "));
        let mut child = OwnedChild::spawn(&mut command, &name)?;
        let stdout = child.inner().stdout.take().context("stdout was piped")?;
        let stdout = Reader::spawn(stdout.into(), Pace::Free);
        Ok(RunningGoproc { child, gate, later, stdout, account, log, name, directory })
    }

    fn program(&self) -> Result<Command> {
        let goproc = sibling_binary("goproc")?;
        if !self.has_own_pids {
            return Ok(Command::new(goproc));
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--"]).arg(goproc);
        Ok(unshare)
    }
}

/// A manager at work.
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
    /// The pid of the manager itself, where `/proc` was mounted.
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

    /// Lets it start its command.
    pub fn open_gate(&mut self) -> Result<()> {
        self.gate.open()
    }

    /// Lets the command's last part go on: whoever reads one byte from [`LATER_ENV`].
    pub fn let_go(&mut self) -> Result<()> {
        self.later.open()
    }

    /// Its account, once it has come this far.
    pub fn account_at(&self, stage: Stage) -> Result<Account> {
        account_at(&self.account, stage).with_context(|| self.name.clone())
    }

    /// What the worker has logged so far; nothing if it writes no log.
    pub fn log_text(&self) -> Result<String> {
        let text = self.log.as_ref().map(fs::read_to_string).transpose();
        Ok(text.context("cannot read the worker's log")?.unwrap_or_default())
    }

    /// Kills the manager itself, and nobody below it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.signal(Signal::KILL)?;
        self.child.wait().map(drop)
    }

    /// Waits for its end; what it passed on to its own stdout.
    pub fn finish(mut self) -> Result<(Account, Received)> {
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {}", self.name, describe(status));
        let account = self.account_at(Stage::Done)?;
        let relayed = self.stdout.finish()?;
        drop(self.directory);
        Ok((account, relayed))
    }
}

/// The account that a manager writes to this file, once it has come this far.
pub fn account_at(path: &Path, stage: Stage) -> Result<Account> {
    wait_until(&format!("a manager to be {stage:?}"), || {
        let Ok(text) = fs::read(path) else { return Ok(None) };
        let account: Account = serde_json::from_slice(&text)?;
        Ok((account.stage >= stage).then_some(account))
    })
}

/// A manager and the tracer on it.
#[derive(Debug)]
pub struct UnderTrace {
    /// The manager.
    pub running: RunningGoproc,
    /// The tracer.
    pub tracer: RunningTracer,
}

impl UnderTrace {
    /// Waits for the tracer's end, which comes when the whole tree has ended: whoever outlives the
    /// manager would be killed with its group.
    pub fn finish(self) -> Result<Managed> {
        let name = self.running.name.clone();
        let tracer = self.tracer.finish().with_context(|| format!("tracing {name}"))?;
        let (account, relayed) = self.running.finish()?;
        Managed::new(name, account, relayed, tracer)
    }

    /// Ends the trace while the manager and its command go on, and then ends those.
    pub fn interrupt(self) -> Result<Managed> {
        let account = self.running.account_at(Stage::Started)?;
        self.tracer.interrupt()?;
        let tracer = self.tracer.finish()?;
        Managed::new(self.running.name.clone(), account, Received::default(), tracer)
    }

    /// Waits for the tracer's end: the manager was killed, its last account is the one it left.
    pub fn after_kill(self) -> Result<Managed> {
        let account = self.running.account_at(Stage::Started)?;
        let tracer = self.tracer.finish()?;
        Managed::new(self.running.name.clone(), account, Received::default(), tracer)
    }
}

/// A managed command that has been traced.
#[derive(Debug)]
pub struct Managed {
    /// What was run, for messages.
    pub name: String,
    /// The manager's truth.
    pub account: Account,
    /// What the manager passed on to its own stdout.
    pub relayed: Received,
    /// The tracer's exit and texts.
    pub tracer: Outcome,
    /// Its report.
    pub report: Report,
}

impl Managed {
    fn new(name: String, account: Account, relayed: Received, tracer: Outcome) -> Result<Self> {
        let report = tracer.report().with_context(|| format!("tracing {name}"))?;
        Ok(Self { name, account, relayed, tracer, report })
    }

    /// The law of every case, where the manager closed its ends itself: per pipe, what went in
    /// is what was read and what was left inside; the report says so to the byte; its ledger
    /// balances; the tracer lost nothing and saw the command end as the manager did.
    pub fn check(&self) -> Result<()> {
        let Account { stdout, stderr, .. } = &self.account;
        expect::no_losses(&self.report)
            .and_then(|()| self.check_stream(stdout, self.account.stdout_read_by_all()))
            .and_then(|()| self.check_stream(stderr, stderr.read))
            .and_then(|()| self.check_exit())
            .with_context(|| format!("{}; the tracer said: {}", self.name, self.tracer.stderr))
    }

    fn check_stream(&self, stream: &Stream, read: u64) -> Result<()> {
        let Stream { object: id, left_inside, .. } = stream;
        let left = left_inside.with_context(|| format!("{id} was not closed"))?;
        let written = self.report.written_to(id);
        ensure!(
            written == read + left,
            "{id}: {read} bytes were read and {left} left inside, written are {written}"
        );
        let Some(object) = self.report.object(id) else {
            ensure!(written == 0, "{id}: {written} bytes went in, and it is not listed");
            return Ok(());
        };
        let reported = (object.written, object.read, object.unread);
        ensure!(
            reported == (Some(read + left), Some(read), Some(left)),
            "{id}: {read} bytes were read and {left} left inside, reported is {reported:?}"
        );
        ensure!(object.balanced != Some(false), "{id} does not balance: {object:?}");
        Ok(())
    }

    /// The command's end is reported as the kernel told the manager.
    fn check_exit(&self) -> Result<()> {
        let Account { pid, code, signal, .. } = self.account;
        let exit = self.report.of_pid(pid).find_map(|process| process.exit);
        let exit = exit.with_context(|| format!("the report gives no exit of pid {pid}"))?;
        ensure!(
            (exit.code, exit.signal) == (code, signal),
            "pid {pid} ended with {code:?}/{signal:?}, the report says {exit:?}"
        );
        Ok(())
    }

    /// The first finding, which must come from this rule; the exit code must agree with it.
    pub fn headline(&self, rule: &str) -> Result<&Finding> {
        let finding = self.report.headline(rule).with_context(|| self.name.clone())?;
        self.report.check_exit_code(self.tracer.status.code())?;
        Ok(finding)
    }

    /// The object table's row of the stdout pipe.
    pub fn stdout(&self) -> Result<&Object> {
        let id = &self.account.stdout.object;
        self.report.object(id).with_context(|| format!("{id} is not listed"))
    }
}
