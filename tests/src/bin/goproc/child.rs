//! The managed command: its process, its pipes and its account.

use std::{
    fs,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
    process::{PidfdFlags, pidfd_open},
};
use tracer_tests::{
    deadline::raw_pid,
    gate::GATE_ENV,
    goproc::{Account, Behaviour, OtherReader, Stage},
    procfs::{object_of, outer_pid_of_child, own_pid},
};

use crate::{options::Options, stream::Stream};

/// The command and what the manager knows about it.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    /// Its stdout.
    pub(crate) stdout: Stream,
    /// Its stderr.
    pub(crate) stderr: Stream,
    /// The other reader of its stdout, if any.
    pub(crate) other_reader: Option<OtherReader>,
    outer_pid: u32,
    argv: Vec<String>,
    code: Option<i32>,
    signal: Option<i32>,
    reported_code: Option<i32>,
    account: PathBuf,
}

impl Child {
    /// Starts the command: stdin is `/dev/null`, stdout and stderr are pipes.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let (program, arguments) = options.argv.split_first().context("no command")?;
        let (out_read, out_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err_read, err_write) = pipe_with(PipeFlags::CLOEXEC)?;
        if options.behaviour == Behaviour::Nonblock {
            fcntl_setfl(&out_write, OFlags::NONBLOCK)?;
        }
        let [out_object, err_object] = [&out_read, &err_read].map(|end| object_of(end.as_raw_fd()));
        let process = Command::new(program)
            .args(arguments)
            .env_remove(GATE_ENV)
            .stdin(Stdio::null())
            .stdout(out_write)
            .stderr(err_write)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let outer_pid = outer_pid_of_child(process.id())?;
        Ok(Self {
            process,
            stdout: Stream::new(out_read, out_object.context("the pipe is not in /proc")?),
            stderr: Stream::new(err_read, err_object.context("the pipe is not in /proc")?),
            other_reader: None,
            outer_pid,
            argv: options.argv.clone(),
            code: None,
            signal: None,
            reported_code: None,
            account: options.account.clone(),
        })
    }

    /// Its pid in the manager's namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its command line.
    pub(crate) fn argv(&self) -> &[String] {
        &self.argv
    }

    /// A pidfd, which becomes readable when its first process ends.
    pub(crate) fn watch(&self) -> Result<std::os::fd::OwnedFd> {
        Ok(pidfd_open(raw_pid(self.pid())?, PidfdFlags::empty())?)
    }

    /// Kills its first process, but not the descendants.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill().context("cannot kill the command")
    }

    /// Waits until its first process ends.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let status = self.process.wait()?;
        (self.code, self.signal) = (status.code(), status.signal());
        self.reported_code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        self.publish(Stage::Exited)
    }

    /// Whether its first process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.code.is_some() || self.signal.is_some()
    }

    /// Whether it ended with exit code 0.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Reports every failure as exit code 1.
    pub(crate) fn flatten_exit(&mut self) {
        self.reported_code = Some(i32::from(!self.has_succeeded()));
    }

    /// Closes both pipes.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.stdout.close()?;
        self.stderr.close()?;
        self.publish(Stage::Closed)
    }

    /// Writes the current account, atomically by a rename.
    pub(crate) fn publish(&self, stage: Stage) -> Result<()> {
        let account = Account {
            stage,
            manager: own_pid()?,
            pid: self.outer_pid,
            ns_pid: self.pid(),
            argv: self.argv.clone(),
            code: self.code,
            signal: self.signal,
            reported_code: self.reported_code,
            other_reader: self.other_reader,
            stdout: self.stdout.counts().clone(),
            stderr: self.stderr.counts().clone(),
        };
        let draft = self.account.with_extension("draft");
        fs::write(&draft, serde_json::to_vec(&account)?)?;
        fs::rename(&draft, &self.account).context("cannot write the account")
    }
}
