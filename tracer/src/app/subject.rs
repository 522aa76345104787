//! From what the user named to what a run traces.

use std::path::PathBuf;

use tracer_core::{session, text::escape};
use tracer_loader::{CgroupScope, KernelSettings};

use super::{
    AppError, Guests, newcomer, stderr,
    top::{self, KeptOutput},
};
use crate::{
    docker::{Client, Expected},
    gvisor::is_sandbox_name,
    launch::{self, Launch, Launched},
    settings::{Settings, TargetChoice},
    sys::processes,
    target::{self, CgroupTarget, CommandLines, ContainerPlace, PinnedProcess, Request, Targets},
};

/// What a run traces, after names were resolved.
#[derive(Default)]
pub(super) struct Subject {
    pub(super) target: session::Target,
    pub(super) pids: Vec<PinnedProcess>,
    pub(super) launched: Option<Launched>,
    /// The command's output, if its terminal is not the user's.
    pub(super) kept: Option<KeptOutput>,
    /// Directories of the target cgroups. When all are removed, they have ended.
    pub(super) cgroups: Vec<PathBuf>,
    /// What the command will have docker start.
    pub(super) newcomer: Option<Expected>,
}

/// Resolves names. A command is started so far that it waits.
pub(super) fn resolve(
    settings: &Settings,
    mut lines: Option<CommandLines>,
    kernel: &mut KernelSettings,
    guests: &mut Guests,
) -> Result<Subject, AppError> {
    let choice = &settings.target;
    let mut existing = choice.existing.clone();
    let sandbox = choice.command.as_ref();
    let sandbox =
        sandbox.and_then(|launch| newcomer::sandbox_of_exec(launch, &mut lines, settings.quiet));
    let (sandbox, doubt_of_sandbox) = sandbox.unzip();
    existing.extend(sandbox.map(Request::Pid));
    let Targets { processes, cgroups } = target::resolve(&existing, &mut lines)?;
    drop(lines);
    // Files that were handed in to a sandbox have fds that no program's output has.
    let named = processes.iter().map(|pinned| pinned.pid);
    let mut all = named.chain(cgroups.iter().flat_map(CgroupTarget::pids));
    let is_sandbox = |pid| processes::comm(pid).is_some_and(|comm| is_sandbox_name(&comm));
    // Also if tracer finds no `runsc`: what leaves a sandbox is counted all the same.
    kernel.all_fds |= all.any(is_sandbox);
    let mut doubts = doubts(&cgroups);
    doubts.extend(doubt_of_sandbox.flatten());
    // The same for the sandbox that a docker client's `--runtime=runsc` will start.
    let names_runsc = |launch: &Launch| {
        Client::of(&launch.argv).is_some()
            && launch.argv.iter().any(|word| word.to_string_lossy().contains("runsc"))
    };
    kernel.all_fds |= choice.command.as_ref().is_some_and(names_runsc);
    let launch = choice.command.as_ref().map(|launch| with_sight(launch, guests, settings.quiet));
    let launch =
        launch.map(|launch| newcomer::expect(launch, &cgroups, sandbox.is_some(), settings.quiet));
    let (launch, newcomer) = launch.unzip();
    let newcomer = newcomer.flatten();
    doubts.extend(newcomer.as_ref().and_then(Expected::doubt).map(str::to_owned));
    let container = newcomer.as_ref().map(Expected::place);
    // A sandbox of gVisor need not have a cgroup.
    kernel.awaits_processes = container.is_some_and(|place| place.is_none() || guests.can_look());
    kernel.cgroup = scope(&cgroups, container.flatten());
    let started = launch.map(|launch| start(&launch, settings)).transpose()?;
    let (launched, kept) = started.unzip();
    let kept = kept.flatten();
    let named = processes.iter().map(|pinned| pinned.pid);
    let target = session::Target {
        kind: kind(choice).to_owned(),
        name: name(choice),
        pids: launched.iter().map(Launched::pid).chain(named).collect(),
        doubt: (!doubts.is_empty()).then(|| doubts.join("; ")),
    };
    if let Some(doubt) = &target.doubt {
        let name = escape(&target.name);
        tracing::warn!("`{name}` may be something else: {}", escape(doubt));
    }
    let cgroups = cgroups.into_iter().map(|cgroup| cgroup.path).collect();
    Ok(Subject { target, pids: processes, launched, kept, cgroups, newcomer })
}

/// Starts a command so far that it waits.
fn start(launch: &Launch, settings: &Settings) -> Result<(Launched, Option<KeptOutput>), AppError> {
    if settings.is_top { top::start(launch) } else { Ok((launch::start(launch)?, None)) }
}

/// The cgroups in the form that the eBPF programs compare. All are in one hierarchy.
fn scope(cgroups: &[CgroupTarget], newcomer: Option<&ContainerPlace>) -> Option<CgroupScope> {
    let of_newcomer = newcomer.map(ContainerPlace::hierarchy);
    let hierarchy = cgroups.first().map(|cgroup| &cgroup.hierarchy).or(of_newcomer)?;
    Some(CgroupScope {
        ids: cgroups.iter().map(|cgroup| cgroup.id).collect(),
        subsystem: hierarchy.subsystem_id(),
        capacity: cgroups.len() + usize::from(newcomer.is_some()),
    })
}

/// Why cgroups may not be what the user named; of several targets with their names.
fn doubts(cgroups: &[CgroupTarget]) -> Vec<String> {
    let of = |cgroup: &CgroupTarget| {
        let doubt = cgroup.doubt.as_ref()?;
        let is_only = cgroups.len() == 1;
        Some(if is_only { doubt.clone() } else { format!("{}: {doubt}", cgroup.label) })
    };
    cgroups.iter().filter_map(of).collect()
}

/// The kind of the target: `several` if there are several kinds and no command.
fn kind(choice: &TargetChoice) -> &'static str {
    if choice.command.is_some() {
        return "command";
    }
    let mut kinds = choice.existing.iter().map(Request::kind);
    let first = kinds.next().unwrap_or("several");
    if kinds.all(|kind| kind == first) { first } else { "several" }
}

/// The target as on the command line.
fn name(choice: &TargetChoice) -> String {
    let named: Vec<String> = choice.existing.iter().map(Request::to_string).collect();
    let Some(launch) = &choice.command else { return named.join(" ") };
    let words: Vec<_> = launch.argv.iter().map(|word| word.to_string_lossy()).collect();
    if named.is_empty() {
        words.join(" ")
    } else {
        format!("{} -- {}", named.join(" "), words.join(" "))
    }
}

/// Subcommands of `runsc` that start a sandbox.
const STARTS_SANDBOX: [&str; 4] = ["create", "do", "restore", "run"];
/// The option of `runsc` with the trace session of a sandbox that starts.
const SIGHT: &str = "--pod-init-config";

/// The command with which to start. `runsc` gets one more option, so that its sandbox is seen from its first instruction.
fn with_sight(launch: &Launch, guests: &mut Guests, quiet: bool) -> Launch {
    let mut launch = launch.clone();
    let is = |word: &std::ffi::OsString, name: &str| word.to_str() == Some(name);
    let program = launch.argv.first().map(std::path::Path::new);
    let is_runsc = program.is_some_and(|program| program.file_name() == Some("runsc".as_ref()));
    let starts = launch.argv.iter().any(|word| STARTS_SANDBOX.iter().any(|name| is(word, name)));
    let has_own =
        launch.argv.iter().any(|word| word.to_str().is_some_and(|word| word.contains(SIGHT)));
    if is_runsc
        && starts
        && !has_own
        && let Some(config) = guests.configuration()
    {
        let option = format!("{SIGHT}={}", config.display());
        let words = format!("tracer: gives runsc the option {option}, to see into the sandbox");
        stderr::note(quiet, &words);
        launch.argv.insert(1, option.into());
    }
    launch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Launch;

    #[test]
    fn targets_of_several_kinds_are_named_as_on_the_command_line() {
        let existing = vec![Request::Container("web".into()), Request::Container("db".into())];
        let mut choice = TargetChoice { command: None, existing };
        assert_eq!(
            (kind(&choice), name(&choice).as_str()),
            ("container", "--container web --container db")
        );
        choice.existing = vec![Request::Pid(7), Request::Unit("foo".into())];
        assert_eq!((kind(&choice), name(&choice).as_str()), ("several", "--pid 7 --unit foo"));
        let argv = ["ls", "-l"].map(Into::into).to_vec();
        choice.command = Some(Launch { argv, user: None, pty: false });
        assert_eq!(
            (kind(&choice), name(&choice).as_str()),
            ("command", "--pid 7 --unit foo -- ls -l")
        );
        choice.existing.clear();
        assert_eq!(name(&choice), "ls -l");
    }
}
