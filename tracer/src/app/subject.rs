//! From what the user named to what a run traces.

use std::path::PathBuf;

use tracer_core::{session, text::escape};
use tracer_loader::{CgroupScope, KernelSettings};

use super::AppError;
use crate::{
    launch::{self, Launched},
    settings::TargetChoice,
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
) -> Result<Subject, AppError> {
    let request = match choice {
        TargetChoice::Existing(request) => request,
        TargetChoice::Command(launch) => {
            let words: Vec<String> =
                launch.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let launched = launch::start(launch)?;
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
