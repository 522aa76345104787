//! `tracer report`: reports from recorded sessions. Needs neither root nor eBPF.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use rustix::{
    process::{Resource, getrlimit},
    system::sysinfo,
};
use tracer_core::{
    capture::SESSION,
    recording::{self, Header, ReadError, Recording},
    report::{Recovered, Report},
    snapshot::Snapshot,
};

use super::{
    AppError,
    begin::report_file,
    leak,
    output::{Destination, Form},
    progress::Progress,
    recovery::Recovery,
};
use crate::{
    capture::{
        folder::Folder,
        stored::{Folders, RecoveryFolder},
    },
    settings::ReportSettings,
};

/// The result of all files.
#[derive(Debug)]
pub struct Replayed {
    /// Whether a session lost output, or nothing was written in it.
    pub has_loss: bool,
    /// Files that have no session. The others were reported.
    pub unreadable: Vec<AppError>,
}

/// Reads each recording and writes its report.
///
/// # Errors
/// [`AppError::Output`] if the report cannot be written.
pub fn replay(settings: &ReportSettings) -> Result<Replayed, AppError> {
    let ReportSettings { format, view, color, .. } = settings;
    let form = Form { format: *format, view: view.clone(), color: *color };
    let mut destination =
        Destination::open(&settings.output, report_file(&settings.output)?, form)?;
    let mut recover = settings.recover.as_deref().map(RecoveryFolder::create).transpose()?;
    let mut replayed = Replayed { has_loss: false, unreadable: Vec::new() };
    for path in &settings.files {
        let report = match report(path, settings, recover.as_mut()) {
            Ok(report) => report,
            Err(error) => {
                replayed.unreadable.push(error);
                continue;
            }
        };
        replayed.has_loss |= report.has_loss();
        destination.write(&report)?;
        if settings.files.len() == 1 {
            leak(report);
        }
    }
    // Signals end this process as they do by default.
    destination.close(|_| true)?;
    Ok(replayed)
}

/// The report of a recording, or of a capture folder with what was lost.
fn report(
    path: &Path,
    settings: &ReportSettings,
    recover: Option<&mut RecoveryFolder>,
) -> Result<Report, AppError> {
    let folder = if path.is_dir() { Some(Folder::open(path)?) } else { None };
    let recording = read(path, folder.as_ref())?;
    tell_damage(path, &recording);
    let (mut report, case) = recording.report();
    match &folder {
        Some(folder) => {
            let (stored, redact) = (&mut Folders { folder, recover }, settings.redact.as_ref());
            Recovery { stored, redact, known: None }.add_to(&mut report, &case)?;
        }
        None if recover.is_some() => {
            return Err(AppError::NothingCaptured { path: name(path) });
        }
        None => {}
    }
    if settings.files.len() == 1 {
        leak(case);
        leak(recording);
    }
    Ok(report)
}

/// A recording as a view shows it, and its report.
pub(super) struct Whole {
    /// The end of the trace.
    pub(super) snapshot: Snapshot,
    /// The report, with captured output that did not arrive.
    pub(super) report: Report,
}

/// Reads a recording or a capture folder to its end.
pub(super) fn whole(path: &Path) -> Result<Whole, AppError> {
    let folder = if path.is_dir() { Some(Folder::open(path)?) } else { None };
    let recording = read(path, folder.as_ref())?;
    tell_damage(path, &recording);
    let (mut report, case) = recording.report();
    if let Some(folder) = &folder {
        let stored = &mut Folders { folder, recover: None };
        Recovery { stored, redact: None, known: None }.add_to(&mut report, &case)?;
    }
    let Header { target, stdio_of_interest, .. } = &recording.header;
    let mut snapshot = Snapshot::of(&recording.session, target, stdio_of_interest, true);
    snapshot.recovered = recovered(&report);
    Ok(Whole { snapshot, report })
}

/// Captured output that did not arrive.
pub(super) fn recovered(report: &Report) -> Vec<Recovered> {
    report.capture.as_ref().map(|captured| captured.recovered.clone()).unwrap_or_default()
}

fn read(path: &Path, folder: Option<&Folder>) -> Result<Recording, AppError> {
    let unreadable = |source| AppError::Recording { path: name(path), source };
    if let Some(folder) = folder {
        let file = folder.open_file(SESSION)?;
        return recording::read(shown(file, path), memory()).map_err(unreadable);
    }
    if is_stdin(path) {
        return recording::read(io::stdin().lock(), memory()).map_err(unreadable);
    }
    let file = File::open(path).map_err(|error| unreadable(ReadError::Io(error)))?;
    recording::read(shown(file, path), memory()).map_err(unreadable)
}

/// A file that is read with a line about how far it is, if it is long.
fn shown(file: File, path: &Path) -> BufReader<Progress<File>> {
    let size = file.metadata().map_or(0, |found| found.len());
    BufReader::new(Progress::new(file, &path.to_string_lossy(), size))
}

/// How much memory the session of a file may take: half of the machine's memory, or of this process's limit. The file
/// may come from another user, and a report that was cut says more than a process that was killed.
pub(super) fn memory() -> u64 {
    let machine = sysinfo();
    let installed = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let given = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    installed.min(given) / 2
}

fn tell_damage(path: &Path, recording: &Recording) {
    let name = name(path);
    if let Some(why) = recording.left_out {
        tracing::warn!("{}: {why}, so the rest was left out", name.display());
    } else if recording.is_cut {
        tracing::warn!("{} stops before the end of the trace", name.display());
    }
    if let Some((number, fault)) = &recording.first_damage {
        let more = match recording.damaged - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        tracing::warn!("{}: line {number} cannot be read ({fault}){more}", name.display());
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> PathBuf {
    if is_stdin(path) { PathBuf::from("standard input") } else { path.to_owned() }
}
