//! What a trace says and gives up when it begins.

use tracer_core::{capture::SESSION, session::Target, text::escape};

use super::{AppError, Subject, stderr};
use crate::{
    capture::process::CaptureProcess,
    docker::{Asks, Client},
    launch::Launch,
    observe::{LogReader, Lookout},
    settings::{ReportTo, Settings},
    sys::{inherited::Unused, user_file::UserPath},
    target::{CommandLines, Request},
};

/// The helper processes, which are forked before anything else starts.
pub(super) struct Helpers {
    pub(super) observers: Observers,
    /// The file of `-o`.
    pub(super) report: Option<UserPath>,
    /// Reads command lines, if a target is named by its own or may be a sandbox.
    pub(super) lines: Option<CommandLines>,
    /// The file of `--record`, or the session in the folder of `--capture`.
    pub(super) session: Option<UserPath>,
    /// Has the folder of `--capture`.
    pub(super) capture: Option<CaptureProcess>,
}

/// The helper processes that look at processes, files and logs.
pub(super) struct Observers {
    pub(super) lookout: Lookout,
    pub(super) logs: LogReader,
}

impl Helpers {
    pub(super) fn start(settings: &Settings) -> Result<Self, AppError> {
        let failed = |source| AppError::Runtime { source };
        let logs = LogReader::start(&settings.worker_logs).map_err(failed)?;
        let folder = settings.capture.as_ref().and_then(|capture| capture.directory.as_ref());
        let captured = || folder.map(|folder| folder.join(SESSION));
        let session = settings.record.clone().or_else(captured);
        let recover = settings.capture.as_ref().and_then(|capture| capture.recover.as_deref());
        let capture = folder.map(|folder| CaptureProcess::fork(folder, recover, stderr::give));
        let is_exec = |launch: &Launch| {
            matches!(Client::of(&launch.argv), Some(Client { asks: Asks::Exec { .. }, .. }))
        };
        let needs_lines = settings.target.existing.iter().any(Request::needs_command_lines)
            || settings.target.command.as_ref().is_some_and(is_exec);
        Ok(Self {
            report: report_file(&settings.output)?,
            lines: needs_lines.then(CommandLines::fork).transpose().map_err(failed)?,
            session: session.map(UserPath::fork).transpose().map_err(failed)?,
            capture: capture.transpose().map_err(failed)?,
            observers: Observers { lookout: Lookout::start(), logs },
        })
    }
}

/// The helper that writes the file of `-o`, if there is one.
pub(super) fn report_file(output: &ReportTo) -> Result<Option<UserPath>, AppError> {
    let ReportTo::File(path) = output else { return Ok(None) };
    let forked = UserPath::fork(path.clone());
    forked.map(Some).map_err(|source| AppError::Runtime { source })
}

/// Checks that the only target still runs: of a process that ended before the attach tracer has seen nothing.
pub(super) fn ensure_alive(subject: &Subject) -> Result<(), AppError> {
    match subject.pids.as_slice() {
        [gone]
            if subject.cgroups.is_empty()
                && subject.launched.is_none()
                && gone.has_ended().unwrap_or(false) =>
        {
            Err(AppError::EndedBeforeAttach { pid: gone.pid, comm: gone.comm.clone() })
        }
        _ => Ok(()),
    }
}

/// Prints the line that scripts wait for.
pub(super) fn announce(settings: &Settings, target: &Target) {
    if !settings.quiet && !settings.is_top {
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
