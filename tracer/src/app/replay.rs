//! `tracer report`: recorded sessions as reports again. No root, no kernel side.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use super::{AppError, output::Destination};
use crate::{
    recording::{self, ReadError, Recording},
    settings::ReportSettings,
};

/// What came of it.
#[derive(Debug)]
pub struct Replayed {
    /// Whether one of the sessions lost output, or nothing was written in it.
    pub has_loss: bool,
    /// Files that hold no session; the others were reported.
    pub unreadable: Vec<AppError>,
}

/// Reads each recording and writes its report.
///
/// # Errors
/// [`AppError::Output`] when the report cannot be written.
pub fn replay(settings: &ReportSettings) -> Result<Replayed, AppError> {
    let mut destination = Destination::open(settings.output.as_deref(), settings.color)?;
    let mut replayed = Replayed { has_loss: false, unreadable: Vec::new() };
    for path in &settings.files {
        let recording = match read(path) {
            Ok(recording) => recording,
            Err(source) => {
                let path = name(path);
                replayed.unreadable.push(AppError::Recording { path, source });
                continue;
            }
        };
        tell_damage(path, &recording);
        let report = recording.report();
        replayed.has_loss |= report.has_loss();
        destination.write(&report, settings.format)?;
    }
    Ok(replayed)
}

fn read(path: &Path) -> Result<Recording, ReadError> {
    if is_stdin(path) {
        return recording::read(io::stdin().lock());
    }
    recording::read(BufReader::new(File::open(path)?))
}

fn tell_damage(path: &Path, recording: &Recording) {
    let name = name(path);
    if recording.is_cut {
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
