//! Environment variables that change what programs print, or whom they ask.

use procfs::process::Process;
use tracer_common::id::ProcessId;

use crate::event::EventKind;

/// The variables that a report shows. None of them carries a secret.
const TELLING: [&str; 14] = [
    "BUILDKIT_PROGRESS",
    "CI",
    "COLUMNS",
    "COMPOSE_PROGRESS",
    "DOCKER_BUILDKIT",
    "DOCKER_CLI_HINTS",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "FORCE_COLOR",
    "LANG",
    "NO_COLOR",
    "PYTHONUNBUFFERED",
    "RUST_LOG",
    "TERM",
];

/// Those of a process that are set; `None` when it has ended already.
#[must_use]
pub fn environment(process: ProcessId) -> Option<EventKind> {
    let environ = Process::new(i32::try_from(process.tgid).ok()?).ok()?.environ().ok()?;
    let variables = TELLING
        .iter()
        .filter_map(|name| {
            let value = environ.get(std::ffi::OsStr::new(name))?;
            Some(((*name).to_owned(), value.to_string_lossy().into_owned()))
        })
        .collect();
    Some(EventKind::Environment { process, variables })
}
