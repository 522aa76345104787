//! The arguments about the target.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueHint};

use super::{choices::ExitCode, values};
use crate::{launch::Launch, settings::TargetChoice, target::Request};

/// What to trace, and how to start it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target (one kind)")]
pub(super) struct TargetArgs {
    /// Trace this process and all its descendants, existing and future; repeatable.
    #[arg(short, long, value_name = "N", value_parser = values::pid, group = "target")]
    pid: Vec<u32>,
    /// Trace every process in this cgroup or below it.
    ///
    /// A process is a target once it starts in the cgroup or enters it, also if it leaves later. Its children are
    /// targets wherever they start; with --no-children only those that start in the cgroup or enter it. The trace ends
    /// when the cgroup is removed.
    #[arg(long, value_name = "PATH", group = "target")]
    cgroup: Option<PathBuf>,
    /// Trace a container of docker, containerd or podman: name, id or beginning of its id.
    ///
    /// Its processes are those of its cgroup, as with --cgroup.
    #[arg(long, value_name = "NAME", group = "target")]
    container: Option<String>,
    /// Start this command and trace it from its first instruction.
    #[arg(last = true, value_name = "COMMAND", group = "target", value_hint = ValueHint::CommandName)]
    command: Vec<OsString>,
    /// Run COMMAND as this user instead of root.
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Username)]
    user: Option<String>,
    /// Run COMMAND on a terminal, to see whether it then writes something else.
    #[arg(long)]
    pty: bool,
    /// What tracer's exit code says [default: verdict].
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) exit_code: Option<ExitCode>,
}

impl TargetArgs {
    /// The target.
    pub(super) fn choice(self) -> Result<TargetChoice, String> {
        if self.command.is_empty() {
            self.refuse_options_of_a_command()?;
        }
        if !self.pid.is_empty() {
            Ok(TargetChoice::Existing(Request::Pids(self.pid)))
        } else if let Some(path) = self.cgroup {
            Ok(TargetChoice::Existing(Request::Cgroup(path)))
        } else if let Some(name) = self.container {
            Ok(TargetChoice::Existing(Request::Container(name)))
        } else if !self.command.is_empty() {
            let launch = Launch { argv: self.command, user: self.user, pty: self.pty };
            Ok(TargetChoice::Command(launch))
        } else {
            Err("nothing to trace: name a --pid N, a --cgroup PATH, a --container NAME, or a \
                 command after --"
                .to_owned())
        }
    }

    /// Refuses options that change how tracer starts a command, if it starts none.
    fn refuse_options_of_a_command(&self) -> Result<(), String> {
        let options = [
            (self.user.is_some(), "--user"),
            (self.pty, "--pty"),
            (self.exit_code.is_some(), "--exit-code"),
        ];
        match options.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, name)) => Err(format!(
                "{name} works only with a command that tracer starts: tracer {name} … -- COMMAND"
            )),
            None => Ok(()),
        }
    }
}
