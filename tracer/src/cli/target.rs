//! The arguments about the target.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueHint};

use super::{choices::ExitCode, values};
use crate::{
    launch::Launch,
    settings::TargetChoice,
    target::{NamePattern, PodName, Request},
};

/// What to trace, and how to start it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target (all that are named, together)")]
pub(super) struct TargetArgs {
    /// Trace this process and all its descendants, existing and future; repeatable.
    #[arg(short, long, value_name = "N", value_parser = values::pid)]
    pid: Vec<u32>,
    /// Trace every running process whose name matches, as in pgrep, and its descendants; repeatable.
    ///
    /// The name is the kernel's, of at most 15 bytes (`ps -o comm`). tracer itself and the processes that it was started
    /// from never match. A process that starts later is traced only if it is a descendant.
    #[arg(long, value_name = "REGEX")]
    name: Vec<NamePattern>,
    /// Match --name against whole command lines (their first 4 KiB), as pgrep -f.
    #[arg(long, requires = "name")]
    full: bool,
    /// Trace every process in this cgroup or below it; repeatable.
    ///
    /// A process is a target once it starts in the cgroup or enters it, also if it leaves later. Its children are
    /// targets wherever they start; with --no-children only those that start in the cgroup or enter it. The trace ends
    /// when the cgroup is removed.
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<PathBuf>,
    /// Trace a unit of systemd: `nginx` is nginx.service; repeatable.
    ///
    /// Its processes are those of its cgroup, as with --cgroup. A unit of the system comes before one of a user's manager
    /// with the same name. The trace ends when the unit stops.
    #[arg(long, value_name = "NAME")]
    unit: Vec<String>,
    /// Trace a container of docker, containerd or podman: name, id or beginning of its id; repeatable.
    ///
    /// Its processes are those of its cgroup, as with --cgroup.
    #[arg(long, value_name = "NAME")]
    container: Vec<String>,
    /// Trace all containers of a Kubernetes pod on this machine, its sandbox included; repeatable.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Vec<PodName>,
    /// Start this command and trace it from its first instruction.
    ///
    /// If other targets are named as well, the trace ends when the command ends. `docker run` is given --cidfile=FILE, so
    /// that its container is traced as well, from its first instruction to its end. So is the container of `docker start`,
    /// and of `docker exec` the command that it starts in the container, without the container's other processes.
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
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
        let Self { pid, name, full, cgroup, unit, container, pod, command: argv, .. } = self;
        let (user, pty) = (self.user, self.pty);
        let pids = pid.into_iter().map(Request::Pid);
        let names = name.into_iter().map(|name| name.full(full));
        let existing: Vec<Request> = pids
            .chain(names.map(Request::Name))
            .chain(cgroup.into_iter().map(Request::Cgroup))
            .chain(unit.into_iter().map(Request::Unit))
            .chain(container.into_iter().map(Request::Container))
            .chain(pod.into_iter().map(Request::Pod))
            .collect();
        let command = (!argv.is_empty()).then_some(Launch { argv, user, pty });
        if command.is_none() && existing.is_empty() {
            return Err("nothing to trace: name a command after --, or a --pid N, --name REGEX, \
                        --unit NAME, --container NAME, --pod NAMESPACE/NAME or --cgroup PATH"
                .to_owned());
        }
        Ok(TargetChoice { command, existing })
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
