//! Why a target could not be found, in sentences that end with the cure.

use std::{io, path::PathBuf};

use procfs::ProcError;
use thiserror::Error;

use super::container::{EngineAnswer, Match};

/// Why what was named cannot be traced.
#[derive(Debug, Error)]
pub enum TargetError {
    /// An empty list of pids.
    #[error("no process id was given: name at least one")]
    NoPid,
    /// No such pid in this pid namespace.
    #[error("no process has the id {pid}: find the right one with `pgrep -a NAME`")]
    NoSuchProcess {
        /// What was asked for.
        pid: u32,
    },
    /// A zombie, or a process that ended while it was looked at.
    #[error(
        "process {pid} ({comm}) has already ended: name one that runs, or start it with `-- COMMAND`"
    )]
    ProcessEnded {
        /// What was asked for.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// The tracer itself.
    #[error("process {pid} is this tracer, which would trace itself: name another process")]
    OwnProcess {
        /// The tracer's own pid.
        pid: u32,
    },
    /// A thread that is not the leader of its process.
    #[error("{tid} is a thread of process {pid} ({comm}), not a process: use {pid}")]
    IsThread {
        /// What was asked for.
        tid: u32,
        /// The process it belongs to.
        pid: u32,
        /// The name of the thread.
        comm: String,
    },
    /// A thread of the kernel.
    #[error(
        "process {pid} ({comm}) is a thread of the kernel and makes no system calls: name a program's process"
    )]
    KernelThread {
        /// What was asked for.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// The kernel refuses a handle on the process.
    #[error("process {pid} cannot be pinned ({source}): run as root on Linux 5.10 or newer")]
    CannotPin {
        /// What was asked for.
        pid: u32,
        /// What `pidfd_open(2)` answered.
        source: io::Error,
    },
    /// An empty cgroup path or container name.
    #[error("the {what} is empty: give one")]
    EmptyName {
        /// Which name.
        what: &'static str,
    },
    /// No such directory in any hierarchy that was tried.
    #[error(
        "no cgroup `{}` exists (looked at {}): list them with `systemd-cgls` or `find {} -type d`",
        .path.display(), list_paths(.looked_at), .root.display()
    )]
    CgroupNotFound {
        /// What was asked for.
        path: PathBuf,
        /// The directories that were tried.
        looked_at: Vec<PathBuf>,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// The path exists but is no cgroup directory.
    #[error(
        "`{}` is not a cgroup directory: give a directory below {}", .path.display(), .root.display()
    )]
    NotACgroup {
        /// What was asked for.
        path: PathBuf,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// A version 1 hierarchy without a controller, such as systemd's own.
    #[error(
        "`{}` is in the cgroup v1 hierarchy `{hierarchy}`, which has no controller the kernel could match on: give the same cgroup in {}",
        .path.display(), .instead.display()
    )]
    CgroupHierarchyUnsupported {
        /// What was asked for.
        path: PathBuf,
        /// The hierarchy's name.
        hierarchy: String,
        /// A hierarchy that can be matched on.
        instead: PathBuf,
    },
    /// No hierarchy is mounted where this process can see it.
    #[error(
        "no cgroup hierarchy is mounted below {}: mount one, or in a container add `-v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host`",
        .root.display()
    )]
    NoCgroupMount {
        /// Where cgroups should be mounted.
        root: PathBuf,
    },
    /// No engine knows it and no process is in a cgroup of that id.
    #[error(
        "no container is named `{name}` and no container id begins with it ({}): list them with `docker ps`, `podman ps` or `nerdctl ps`",
        list_answers(.asked)
    )]
    ContainerNotFound {
        /// What was asked for.
        name: String,
        /// The engines that were asked and what each answered.
        asked: Vec<EngineAnswer>,
    },
    /// More than one container fits.
    #[error("`{name}` could be {}: give more of the id", list_matches(.candidates))]
    ContainerAmbiguous {
        /// What was asked for.
        name: String,
        /// The containers that fit.
        candidates: Vec<Match>,
    },
    /// The container exists but has no process.
    #[error("container {container} is {state}, not running: start it first")]
    ContainerNotRunning {
        /// The container.
        container: Match,
        /// Its state in the engine's word.
        state: String,
    },
    /// The engine that knows the container could not say more about it.
    #[error("container {container} was found, but its engine does not tell its process: {reason}")]
    ContainerUnreadable {
        /// The container.
        container: Match,
        /// What went wrong, with the cure.
        reason: String,
    },
    /// The container shares its cgroup with processes outside of it.
    #[error(
        "container {container} has no cgroup of its own, so its processes cannot be told from others: trace process {pid} instead"
    )]
    ContainerWithoutCgroup {
        /// The container.
        container: Match,
        /// Its first process.
        pid: u32,
    },
    /// The cgroup exists but is not visible from where the tracer runs.
    #[error(
        "the cgroup `{cgroup}` of container {container} is not visible below {}: run on the host, or in a container with `--cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:ro`",
        .root.display()
    )]
    ContainerCgroupHidden {
        /// The container.
        container: Match,
        /// Its path as the kernel shows it.
        cgroup: String,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// procfs does not answer as expected.
    #[error("{what} cannot be read from procfs ({source}): run as root with /proc mounted")]
    Procfs {
        /// What was being read.
        what: String,
        /// What procfs answered.
        #[source]
        source: ProcError,
    },
    /// A directory that should be readable is not.
    #[error("`{}` cannot be read ({source}): run as root", .path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl TargetError {
    /// Whether the command line is wrong on any machine; otherwise this machine lacks or forbids what it asks for.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoPid
                | Self::OwnProcess { .. }
                | Self::EmptyName { .. }
                | Self::ContainerAmbiguous { .. }
        )
    }

    pub(super) fn procfs(what: impl Into<String>) -> impl FnOnce(ProcError) -> Self {
        let what = what.into();
        move |source| Self::Procfs { what, source }
    }
}

fn list_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list_answers(answers: &[EngineAnswer]) -> String {
    answers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn list_matches(matches: &[Match]) -> String {
    matches.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
