//! Shows a finished report: for people, or for scripts.
//!
//! Renderers read [`Report`] and nothing else: no clock, no `/proc`, no maps. Whatever a report
//! quotes from traced programs (arguments, names, paths) is hostile until it went through
//! [`tracer_core::text::escape`]; on the human side [`text`] does that to everything, so that nobody can forget it.

mod command;
mod doctor;
mod exit;
mod gap;
mod human;
mod json;
mod live;
mod palette;
mod show;
#[cfg(test)]
mod tests;
mod text;

use std::io;

pub use self::{
    command::command_line,
    doctor::{DoctorLine, LineStatus, doctor},
    live::{LiveEvent, live_line},
    show::Show,
};
use tracer_core::report::Report;

/// In which form a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for a person, the verdict first.
    Human,
    /// One indented JSON document, `tracer.report/1`.
    Json,
    /// The same facts, one JSON object on each line.
    Ndjson,
}

/// What the place can show that human text is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colours and bold may be used.
    pub color: bool,
    /// Columns of a line; fewer than 40 count as 40.
    pub width: usize,
}

/// Writes a report. `style` is for [`Format::Human`] only.
///
/// # Errors
/// Whatever `out` answers; [`io::ErrorKind::BrokenPipe`] when its reader is gone.
pub fn write(
    report: &Report,
    format: Format,
    style: &Style,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    match format {
        Format::Human => human::write(report, style, out),
        Format::Json => json::write(report, out),
        Format::Ndjson => json::write_lines(report, out),
    }
}
