//! What a trace says and gives up when it begins.

use tracer_core::{session::Target, text::escape};

use super::{AppError, stderr};
use crate::{
    observe::{LogReader, Lookout},
    settings::{ReportTo, Settings},
    sys::inherited::Unused,
    target::PinnedProcess,
};

/// The helper processes, which are forked before anything else starts.
pub(super) struct Observers {
    pub(super) lookout: Lookout,
    pub(super) logs: LogReader,
}

impl Observers {
    pub(super) fn start(settings: &Settings) -> Result<Self, AppError> {
        let logs = LogReader::start(&settings.worker_logs)
            .map_err(|source| AppError::Runtime { source })?;
        Ok(Self { lookout: Lookout::start(), logs })
    }
}

/// Checks that these processes still run: of a process that ended before the attach tracer has seen nothing.
pub(super) fn ensure_alive(pids: &[PinnedProcess]) -> Result<(), AppError> {
    match pids.iter().find(|pinned| pinned.has_ended().unwrap_or(false)) {
        Some(gone) if pids.len() == 1 => {
            Err(AppError::EndedBeforeAttach { pid: gone.pid, comm: gone.comm.clone() })
        }
        _ => Ok(()),
    }
}

/// Prints the line that scripts wait for.
pub(super) fn announce(settings: &Settings, target: &Target) {
    if !settings.quiet {
        let name = escape(&target.name);
        stderr::say(&format!("tracer: attached to {name}; stops when it ends, or on Ctrl-C"));
    }
}

/// The standard streams that tracer does not use after that line.
pub(super) fn unused(settings: &Settings) -> Unused {
    let shows = settings.capture.as_ref().is_some_and(|capture| capture.show);
    let reports_there = settings.output == ReportTo::Stderr;
    let uses_stderr = reports_there || shows || settings.live == Some(true) || !settings.quiet;
    Unused { stdin: true, stdout: settings.output != ReportTo::Stdout, stderr: !uses_stderr }
}
