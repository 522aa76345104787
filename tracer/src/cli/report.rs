//! The arguments of `tracer report`.

use std::path::PathBuf;

use clap::Args;

use super::{Color, ReportFormat, capture};
use crate::settings::ReportSettings;

/// Which recordings, and how their reports look.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLES
  tracer report run.session                       read it
  tracer report run.session --format json | jq .verdict
  tracer report out                               a folder of --capture: what was lost is shown
  tracer report out --recover lost                … and written, one file for each loss
  tracer report monday.session tuesday.session    one report after the other
  ssh host cat run.session | tracer report -      from standard input

EXIT STATUS
  as of a trace: 0, or 1 when output was lost; of several files the worst. 3 when a file holds no
  session: the others are reported nevertheless.")]
pub struct ReportArgs {
    /// Recorded sessions, or folders of `--capture`; `-` is standard input.
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
    /// Hide what matches in captured output that the report shows. Repeatable.
    ///
    /// A regular expression in the syntax of Rust's regex crate, such as 'token=[^ ]+', that is held
    /// against whole lines. What --recover writes is not changed.
    #[arg(long, value_name = "REGEX")]
    redact: Vec<String>,
    /// Write each output that did not arrive to a file of its own in this folder (mode 0700, files
    /// 0600). FILE must be a folder of `--capture`.
    #[arg(long, value_name = "DIR", value_parser = capture::folder)]
    recover: Option<PathBuf>,
}

impl ReportArgs {
    /// The settings of `tracer report`.
    ///
    /// # Errors
    /// A sentence for the user about a pattern that cannot be used.
    pub fn into_settings(self) -> Result<ReportSettings, String> {
        Ok(ReportSettings {
            files: self.files,
            format: self.format.into(),
            output: self.output,
            color: self.color.into(),
            redact: capture::redact(&self.redact)?,
            recover: self.recover,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::{
        cli::{Action, Cli},
        settings::ReportSettings,
    };

    fn settings(args: &[&str]) -> Result<ReportSettings, String> {
        let args = ["tracer", "report"].iter().chain(args);
        match Cli::try_parse_from(args).unwrap().action {
            Some(Action::Report(args)) => args.into_settings(),
            action => panic!("{action:?}"),
        }
    }

    #[test]
    fn a_folder_is_reported_with_what_was_lost() {
        let args = ["out", "--recover", "lost", "--redact", "a+", "--redact", "b"];
        let settings = settings(&args).unwrap();
        assert_eq!(settings.files, [std::path::PathBuf::from("out")]);
        assert_eq!(settings.recover, Some("lost".into()));
        assert_eq!(&*settings.redact.unwrap().line(b"caab"), b"c[redacted][redacted]");
    }

    #[test]
    fn a_plain_report_hides_and_writes_nothing() {
        let settings = settings(&["run.session"]).unwrap();
        assert!(settings.redact.is_none() && settings.recover.is_none());
    }

    #[test]
    fn a_bad_pattern_is_one_sentence() {
        let sentence = settings(&["out", "--redact", "[z"]).unwrap_err();
        assert!(sentence.contains("[z") && sentence.lines().count() == 1, "{sentence}");
    }
}
