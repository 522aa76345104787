//! From what the user named to what a run traces.

use std::path::PathBuf;

use tracer_core::{session, text::escape};
use tracer_loader::{CgroupScope, KernelSettings};

use super::{AppError, Guests, stderr};
use crate::{
    gvisor::is_sandbox_name,
    launch::{self, Launch, Launched},
    settings::TargetChoice,
    sys::bounded,
    target::{self, PinnedProcess, Request, Target},
};

/// What a run traces, after names were resolved.
pub(super) struct Subject {
    pub(super) target: session::Target,
    pub(super) pids: Vec<PinnedProcess>,
    pub(super) launched: Option<Launched>,
    /// Directory of the target cgroup. When it is removed, the target has ended.
    pub(super) cgroup: Option<PathBuf>,
}

/// Resolves names. A command is started so far that it waits.
pub(super) fn resolve(
    choice: &TargetChoice,
    kernel: &mut KernelSettings,
    guests: &mut Guests,
) -> Result<Subject, AppError> {
    let request = match choice {
        TargetChoice::Existing(request) => request,
        TargetChoice::Command(launch) => {
            let words: Vec<String> =
                launch.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let launched = launch::start(&with_sight(launch, guests))?;
            let target = session::Target {
                kind: "command".into(),
                name: words.join(" "),
                pids: vec![launched.pid()],
                doubt: None,
            };
            return Ok(Subject {
                target,
                pids: Vec::new(),
                launched: Some(launched),
                cgroup: None,
            });
        }
    };
    match target::resolve(request)? {
        Target::Processes(pids) => {
            kernel.all_fds |= pids.iter().any(|pinned| is_sandbox_name(&pinned.comm));
            let numbers: Vec<u32> = pids.iter().map(|pinned| pinned.pid).collect();
            let name =
                numbers.iter().map(|pid| format!("--pid {pid}")).collect::<Vec<_>>().join(" ");
            let target = session::Target { kind: "pid".into(), name, pids: numbers, doubt: None };
            Ok(Subject { target, pids, launched: None, cgroup: None })
        }
        Target::Cgroup(cgroup) => {
            kernel.cgroup =
                Some(CgroupScope { id: cgroup.id, subsystem: cgroup.hierarchy.subsystem_id() });
            let (kind, name) = match request {
                Request::Container(name) => ("container", format!("--container {name}")),
                _ => ("cgroup", format!("--cgroup {}", cgroup.path.display())),
            };
            // Files that were handed in to a sandbox have fds that no program's output has.
            kernel.all_fds |= cgroup.pids().into_iter().any(|pid| {
                let comm = bounded::text(format!("/proc/{pid}/comm"));
                comm.is_ok_and(|comm| is_sandbox_name(comm.trim_end()))
            });
            if let Some(doubt) = &cgroup.doubt {
                tracing::warn!("`{}` may be no container: {}", escape(&name), escape(doubt));
            }
            let doubt = cgroup.doubt;
            let target = session::Target { kind: kind.into(), name, pids: Vec::new(), doubt };
            let cgroup = Some(cgroup.path);
            Ok(Subject { target, pids: Vec::new(), launched: None, cgroup })
        }
    }
}

/// Subcommands of `runsc` that start a sandbox.
const STARTS_SANDBOX: [&str; 4] = ["create", "do", "restore", "run"];
/// The option of `runsc` with the trace session of a sandbox that starts.
const SIGHT: &str = "--pod-init-config";

/// The command with which to start. `runsc` gets one more option, so that its sandbox is seen from its first instruction.
fn with_sight(launch: &Launch, guests: &mut Guests) -> Launch {
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
        stderr::say(&format!("tracer: gives runsc the option {option}, to see into the sandbox"));
        launch.argv.insert(1, option.into());
    }
    launch
}
