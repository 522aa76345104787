//! Renders a finished report as text, a page, a graph, JSON or NDJSON.
//!
//! Renderers read a [`Report`] and nothing else: no clock, no `/proc`, no maps. Text from traced programs (arguments,
//! names, paths) is hostile until [`tracer_core::text::escape`] has escaped it. In human output [`text`] escapes
//! everything.

mod command;
mod doctor;
mod exit;
mod explain;
mod gap;
mod history;
mod html;
mod human;
mod json;
mod live;
mod palette;
mod picture;
mod show;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::io;

pub use self::{
    command::command_line,
    doctor::{DoctorLine, LineStatus, doctor},
    explain::{explain, is_rule},
    history::{
        Clock, HistoryItem, Past, answer_json, history_json, history_line, no_answer, past, tails,
    },
    live::{LiveEvent, Progress, left_out_json, live_line},
    show::Show,
    view::{Grep, View},
};
pub(crate) use self::{
    history::{gap::sentence as gap_sentence, place_of},
    live::place,
};
use tracer_core::report::Report;

use self::picture::Picture;

/// Format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for a person. The verdict comes first.
    Human,
    /// One indented JSON document, `tracer.report/1`.
    Json,
    /// The same facts as one JSON object on each line.
    Ndjson,
    /// A page for a browser or a printer: one file without scripts.
    Html,
    /// The flow of the output as a graph in the language of Graphviz.
    Dot,
    /// The same graph in the language of Mermaid.
    Mermaid,
}

/// What the destination of human text can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colours and bold may be used.
    pub color: bool,
    /// Width of a line in columns. Less than 40 counts as 40.
    pub width: usize,
}

/// Writes a report. `view` and `style` apply to [`Format::Human`] only.
///
/// # Errors
/// Errors of `out`; [`io::ErrorKind::BrokenPipe`] if its reader is gone.
pub fn write(
    report: &Report,
    format: Format,
    view: &View,
    style: &Style,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    match format {
        Format::Human => human::write(report, view, style, out),
        Format::Json => json::write(report, out),
        Format::Ndjson => json::write_lines(report, out),
        Format::Html => html::write(report, out),
        Format::Dot => picture::dot::write(&Picture::of(report), &report.verdict, out),
        Format::Mermaid => picture::mermaid::write(&Picture::of(report), out),
    }
}
