//! `tracer report`: what can be typed behind it.

use std::path::PathBuf;

use clap::Args;

use super::{Color, ReportFormat};
use crate::settings::ReportSettings;

/// Which recordings, and how their reports look.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLES
  tracer report run.session                       read it
  tracer report run.session --format json | jq .verdict
  tracer report monday.session tuesday.session    one report after the other
  ssh host cat run.session | tracer report -      from standard input

EXIT STATUS
  as of a trace: 0, or 1 when output was lost; of several files the worst. 3 when a file holds no
  session: the others are reported nevertheless.")]
pub struct ReportArgs {
    /// Recorded sessions; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Form of the report.
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the report to this file (mode 0600) rather than to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// When to colour.
    #[arg(long, value_enum, default_value_t)]
    color: Color,
}

impl ReportArgs {
    /// What was typed, as settings.
    #[must_use]
    pub fn into_settings(self) -> ReportSettings {
        ReportSettings {
            files: self.files,
            format: self.format.into(),
            output: self.output,
            color: self.color.into(),
        }
    }
}
