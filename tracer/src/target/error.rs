//! Errors about targets. Each sentence ends with a fix.

use std::{io, path::PathBuf};

use procfs::ProcError;
use thiserror::Error;
use tracer_core::text;

use super::{
    Hierarchy,
    container::{EngineAnswer, Match, pod::PodName},
};

/// Why the named target cannot be traced.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Each named process takes an open file, and the limit allows fewer.
    #[error(
        "{named} processes take more open files than tracer may have ({limit}): raise the hard limit (ulimit -Hn), or name their parent or their cgroup instead"
    )]
    TooManyPids {
        /// How many different processes the user named.
        named: usize,
        /// The hard limit on open files.
        limit: u64,
    },
    /// No process has this pid in this pid namespace.
    #[error("no process has the id {pid}: find the right one with `pgrep -a NAME`")]
    NoSuchProcess {
        /// The pid that the user named.
        pid: u32,
    },
    /// The process is a zombie, or ended while it was pinned.
    #[error(
        "process {pid} ({comm}) has already ended: name one that runs, or start it with `-- COMMAND`"
    )]
    ProcessEnded {
        /// The pid that the user named.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// The pid is tracer's own.
    #[error("process {pid} is this tracer, which would trace itself: name another process")]
    OwnProcess {
        /// tracer's pid.
        pid: u32,
    },
    /// The id is that of a thread that is not the leader of its process.
    #[error("{tid} is a thread of process {pid} ({comm}), not a process: use {pid}")]
    IsThread {
        /// The id that the user named.
        tid: u32,
        /// Pid of its process.
        pid: u32,
        /// The name of the thread.
        comm: String,
    },
    /// The process is a kernel thread.
    #[error(
        "process {pid} ({comm}) is a kernel thread, which makes no system calls: name the process of a program"
    )]
    KernelThread {
        /// The pid that the user named.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// The kernel refuses to open a pidfd.
    #[error("process {pid} cannot be pinned ({source}): run as root on Linux 5.10 or newer")]
    CannotPin {
        /// The pid that the user named.
        pid: u32,
        /// The error of `pidfd_open(2)`.
        source: io::Error,
    },
    /// No running process has a name or command line that matches.
    #[error(
        "no running process matches `--name {pattern}` (without --full, it is matched against the 15 bytes that the kernel keeps of a name): look for it with `pgrep -a PATTERN`, or start it with `-- COMMAND`"
    )]
    NameNotFound {
        /// The pattern that the user gave.
        pattern: String,
    },
    /// The helper that reads command lines failed, or did not answer in time.
    #[error(
        "the command lines of all processes cannot be read ({source}): match names without --full, or name processes with --pid N"
    )]
    CommandLinesUnread {
        /// Its error.
        source: io::Error,
    },
    /// The name has a slash.
    #[error(
        "`{name}` is no name of a unit: give a name such as nginx.service, or a path with --cgroup PATH"
    )]
    NotAUnit {
        /// The name that the user gave.
        name: String,
    },
    /// systemd has made no cgroup for the unit.
    #[error(
        "unit {unit} does not run (it has no cgroup below {}): start it with `systemctl start {unit}`, or list those that run with `systemctl list-units`",
        .root.display()
    )]
    UnitNotRunning {
        /// The unit.
        unit: String,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// The unit is a template, or has no cgroup while instances of a template with its name have one.
    #[error("unit {unit} does not run: name one of its instances: {}", text::list(.instances, " or "))]
    UnitTemplate {
        /// The unit.
        unit: String,
        /// Some units of the template.
        instances: Vec<String>,
    },
    /// Managers of several users have a unit of this name.
    #[error("unit {unit} runs several times ({}): name one of them with --cgroup PATH", list_paths(.places))]
    UnitAmbiguous {
        /// The unit.
        unit: String,
        /// Its cgroups.
        places: Vec<PathBuf>,
    },
    /// The unit has a cgroup only in systemd's own version 1 hierarchy.
    #[error(
        "unit {unit} has a cgroup only in systemd's own cgroup v1 hierarchy, which tracer cannot match: give it another one with `systemctl set-property {unit} MemoryAccounting=yes`"
    )]
    UnitWithoutController {
        /// The unit.
        unit: String,
    },
    /// Two target cgroups have ids of different kinds.
    #[error(
        "`{}` is in {} and `{}` in {}, and one trace can match only one of these hierarchies: trace them one at a time, or name each by a --cgroup PATH in the same hierarchy",
        .places[0].0, .places[0].1, .places[1].0, .places[1].1
    )]
    TwoHierarchies {
        /// The names of two of the cgroups, and their hierarchies.
        places: Box<[(String, Hierarchy); 2]>,
    },
    /// No engine lists a container of the pod.
    #[error(
        "no container of the pod {pod} is on this machine ({}): list pods with `crictl pods` or `kubectl get pods -A -o wide`",
        list_answers(.asked)
    )]
    PodNotFound {
        /// The pod that the user named.
        pod: PodName,
        /// The engines that were asked, and their answers.
        asked: Vec<EngineAnswer>,
    },
    /// Engines list containers of the pod, but none of them runs.
    #[error(
        "pod {pod} does not run: none of its {containers} containers has a process; start it first"
    )]
    PodNotRunning {
        /// The pod that the user named.
        pod: PodName,
        /// How many containers engines list for it.
        containers: usize,
    },
    /// The cgroup path or container name is empty.
    #[error("the {what} is empty: name one")]
    EmptyName {
        /// Which name.
        what: &'static str,
    },
    /// No hierarchy has this directory.
    #[error(
        "no cgroup `{}` exists (looked at {}): list them with `systemd-cgls` or `find {} -type d`",
        .path.display(), list_paths(.looked_at), .root.display()
    )]
    CgroupNotFound {
        /// The path that the user named.
        path: PathBuf,
        /// The directories that were tried.
        looked_at: Vec<PathBuf>,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// The path exists, but is no cgroup directory.
    #[error(
        "`{}` is not a cgroup directory: give a directory below {}", .path.display(), .root.display()
    )]
    NotACgroup {
        /// The path that the user named.
        path: PathBuf,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// The hierarchy is a version 1 hierarchy without a controller, such as systemd's own.
    #[error(
        "`{}` is in the cgroup v1 hierarchy `{hierarchy}`, which tracer cannot match: name the same cgroup in {}",
        .path.display(), .instead.display()
    )]
    CgroupHierarchyUnsupported {
        /// The path that the user named.
        path: PathBuf,
        /// The hierarchy's name.
        hierarchy: String,
        /// A hierarchy that the eBPF programs can match.
        instead: PathBuf,
    },
    /// This process sees no mounted hierarchy.
    #[error(
        "no cgroup hierarchy is mounted below {}: mount one, or in a container add `-v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host`",
        .root.display()
    )]
    NoCgroupMount {
        /// Where cgroups should be mounted.
        root: PathBuf,
    },
    /// No engine knows the container, and no process is in a cgroup with that id.
    #[error(
        "no container is named `{name}` and no container id begins with it ({}): list them with `docker ps`, `podman ps` or `nerdctl ps`",
        list_answers(.asked)
    )]
    ContainerNotFound {
        /// The name that the user gave.
        name: String,
        /// The engines that were asked, and their answers.
        asked: Vec<EngineAnswer>,
    },
    /// More than one container fits the name.
    #[error("`{name}` could be {}: give more of the id", list_matches(.candidates))]
    ContainerAmbiguous {
        /// The name that the user gave.
        name: String,
        /// The containers that fit.
        candidates: Vec<Match>,
    },
    /// The container has no process.
    #[error("container {container} does not run (its engine says: {state}): start it first")]
    ContainerNotRunning {
        /// The container.
        container: Match,
        /// Its state, as the engine calls it.
        state: String,
    },
    /// The engine lists the container, but does not return its process.
    #[error(
        "container {container} exists, but its engine does not say which process it is: {reason}"
    )]
    ContainerUnreadable {
        /// The container.
        container: Match,
        /// What went wrong, with a fix.
        reason: String,
    },
    /// The container shares its cgroup with processes outside of it.
    #[error(
        "container {container} has no cgroup of its own, so tracer cannot tell its processes from others: use --pid {pid}"
    )]
    ContainerWithoutCgroup {
        /// The container.
        container: Match,
        /// Its first process.
        pid: u32,
    },
    /// The cgroup is not visible in tracer's mount namespace.
    #[error(
        "the cgroup `{cgroup}` of container {container} is not visible below {}: run on the host, or in a container with `--cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:ro`",
        .root.display()
    )]
    ContainerCgroupHidden {
        /// The container.
        container: Match,
        /// Its path, as the kernel shows it.
        cgroup: String,
        /// Where cgroups are mounted.
        root: PathBuf,
    },
    /// procfs cannot be read.
    #[error("{what} cannot be read from procfs ({source}): run as root with /proc mounted")]
    Procfs {
        /// What was being read.
        what: String,
        /// The error.
        #[source]
        source: ProcError,
    },
    /// A directory cannot be read.
    #[error("`{}` cannot be read ({source}): run as root", .path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl TargetError {
    /// Whether the command line is wrong on every machine. Otherwise this machine lacks or forbids what it asks for.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::OwnProcess { .. }
                | Self::EmptyName { .. }
                | Self::NotAUnit { .. }
                | Self::UnitAmbiguous { .. }
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

pub(super) fn list_answers(answers: &[EngineAnswer]) -> String {
    answers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn list_matches(matches: &[Match]) -> String {
    text::list(matches.iter().map(ToString::to_string), " or ")
}
