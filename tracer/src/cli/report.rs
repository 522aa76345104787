//! The arguments of `tracer report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum as _, builder::PossibleValue};

use super::{Color, ReportFormat, capture, report_to, view};
use crate::{render::Format, settings::ReportSettings};

/// Which recordings, and how their reports look.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLES
  tracer report run.session                       one screen
  tracer report run.session --all                 every process, stream and finding
  tracer report run.session --grep cc1            only what is about cc1
  tracer report run.session --format json | jq .verdict
  tracer report run.session --format html -o run.html     a page to send
  tracer report run.session --format mermaid              a graph for an issue
  tracer report out                               a folder of --capture: shows the lost output
  tracer report out --recover lost                … and saves it, one file for each loss
  tracer report monday.session tuesday.session    one report after the other
  ssh host cat run.session | tracer report -      from standard input

EXIT STATUS
  0, 1 and 2 as for a trace (see tracer --help); of several files the worst
  3  a file is not a tracer recording; the other files are still reported")]
pub struct ReportArgs {
    /// Recorded sessions, or folders of `--capture`; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Report format. Programs should read `json` or `ndjson`; the others are for people and change.
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the report to this file (mode 0600); `-` is standard output [default: -].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// When to colour.
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    /// Hide what matches in captured output that the report shows. Repeatable.
    ///
    /// REGEX has the syntax of Rust's regex crate, for example 'token=[^ ]+'. It is matched against whole
    /// lines. --recover writes the output unchanged.
    #[arg(long, value_name = "REGEX")]
    redact: Vec<String>,
    /// Write each lost output to a file of its own in this folder (mode 0700, files 0600). FILE must be a
    /// folder of `--capture`.
    #[arg(long, value_name = "DIR", value_parser = capture::folder)]
    recover: Option<PathBuf>,
    #[command(flatten)]
    view: view::ViewArgs,
}

impl ReportArgs {
    /// The settings of `tracer report`.
    ///
    /// # Errors
    /// A sentence for the user about a pattern or a format that cannot be used.
    pub fn into_settings(self) -> Result<ReportSettings, String> {
        let format: Format = self.format.into();
        if self.files.len() > 1 && matches!(format, Format::Html | Format::Dot | Format::Mermaid) {
            let name = self.format.to_possible_value();
            let name = name.as_ref().map_or("this", PossibleValue::get_name);
            return Err(format!(
                "a report in the format {name} is a document of its own: give one FILE, and run tracer report \
                 again for the next one"
            ));
        }
        Ok(ReportSettings {
            files: self.files,
            format,
            view: self.view.choice(format)?,
            output: report_to(self.output),
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
        for option in ["--redact", "--grep"] {
            let sentence = settings(&["out", option, "[z"]).unwrap_err();
            assert!(sentence.contains("[z") && sentence.lines().count() == 1, "{sentence}");
        }
    }

    #[test]
    fn what_a_human_report_shows_can_be_chosen() {
        let view = settings(&["run.session", "--all", "--only-loss", "--grep", "cc"]).unwrap().view;
        assert!(view.all && view.only_loss && view.grep.is_some());
        let sentence = settings(&["run.session", "--all", "--format", "json"]).unwrap_err();
        assert!(sentence.starts_with("--all"), "{sentence}");
    }

    #[test]
    fn a_document_is_about_one_recording() {
        for format in ["html", "dot", "mermaid"] {
            let sentence = settings(&["a", "b", "--format", format]).unwrap_err();
            assert!(sentence.contains(format) && sentence.lines().count() == 1, "{sentence}");
            assert!(settings(&["a", "--format", format]).is_ok());
        }
        assert!(settings(&["a", "b", "--format", "json"]).is_ok());
    }
}
