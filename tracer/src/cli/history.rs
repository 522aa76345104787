//! The arguments of `tracer history` and `tracer why`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use regex::Regex;
use tracer_history::{FOLDER, Filter, Moment, Question, Subject, moment};

use super::{Color, ReportFormat, report_to, values, view};
use crate::{
    render::Format,
    settings::{HistorySettings, WhySettings},
    target::PodName,
};

/// Lines of a list for a person.
const LINES: usize = 100;

/// Format of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// One line for each command.
    #[default]
    Human,
    /// One JSON object per line, schema tracer.history/1.
    Ndjson,
}

/// Whose commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Commands (those that all of these options mean)")]
struct SubjectArgs {
    /// Of this container: name, id, or at least 4 characters from the beginning of its id.
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Of this Kubernetes pod.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<PodName>,
    /// Of this unit of systemd: `nginx` is nginx.service.
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// With this pid; with --container or --pod, the pid there matches as well.
    #[arg(short, long, value_name = "N", value_parser = values::pid)]
    pid: Option<u32>,
    /// Whose name (`comm`) matches.
    #[arg(long, value_name = "REGEX")]
    name: Option<Regex>,
}

impl SubjectArgs {
    fn into_subject(self) -> Subject {
        let Self { container, pod, unit, pid, name } = self;
        let pod = pod.map(|PodName { namespace, name }| format!("{namespace}/{name}"));
        Subject { container, pod, unit, pid, name }
    }
}

/// Which commands of the history, and how they are listed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
EXAMPLES
  tracer history                            the latest 100 commands, the newest last
  tracer history --lost --since 24h         whose output did not arrive since yesterday
  tracer history --container web --since 03:00 --until 03:30
  tracer history --name '^backup' --limit 20
  tracer history --lost --format ndjson | jq .sentence

LINES
  ✗ is a loss, ! a warning, ✓ output that arrived. Then follow the place, the command line, the
  bytes that it wrote, and the rule: `tracer explain RULE` says more. A line with … is a time in
  which tracer did not see or keep something.

EXIT CODE
  0  the history was listed
  2  the command line is wrong
  3  there is no history, or it may not be read: `tracer daemon` writes it")]
pub struct HistoryArgs {
    /// Folder of the history.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    history: PathBuf,
    /// Only commands whose output did not arrive.
    #[arg(long)]
    lost: bool,
    /// Only what ended at this time or later: 1h (ago), 03:12, 2026-11-28T03:12, or as in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only what ended at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// List at most this many commands, the newest [default: 100, with --format ndjson all].
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Format of the list. Programs should read `ndjson`; the other is for people and changes.
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
    /// When to colour.
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    #[command(flatten)]
    subject: SubjectArgs,
}

impl HistoryArgs {
    /// The settings of `tracer history`.
    ///
    /// # Errors
    /// A sentence for the user about times that are the wrong way round.
    pub fn into_settings(self) -> Result<HistorySettings, String> {
        let (since, until) = (self.since, self.until);
        if let (Some(since), Some(until)) = (since, until)
            && since.from_us > until.until_us
        {
            return Err(
                "--since is later than --until, so nothing is between them: exchange them".into()
            );
        }
        let is_ndjson = self.format == ListFormat::Ndjson;
        let filter = Filter {
            since_us: since.map(|it| it.from_us),
            until_us: until.map(|it| it.until_us),
            lost: self.lost,
            subject: self.subject.into_subject(),
        };
        Ok(HistorySettings {
            folder: self.history,
            filter,
            limit: self.limit.map(NonZeroUsize::get).or((!is_ndjson).then_some(LINES)),
            is_ndjson,
            color: self.color.into(),
        })
    }
}

/// Which command, and how the answer looks.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("whose").args(["container", "pod", "unit", "pid", "name"]).required(true).multiple(true),
    after_long_help = "\
EXAMPLES
  tracer why --container report-1             its latest command with a loss, or with a warning
  tracer why --container report-1 --at 03:12  what ran in it in that minute
  tracer why --unit backup --at 2h            two hours ago
  tracer why --pod prod/web-0 --name '^curl' --at 2026-11-28T03:12:30
  tracer why --container report-1 --at 03:12 --format html -o why.html

WHICH COMMAND
  With --at: what ran at that time, else what ended within five minutes of it. Of several, losses
  come first, then warnings, then the nearest. Without --at: the latest loss, else the latest
  warning, else the latest command.

EXIT CODE
  0  its output arrived, or no such command was seen
  1  its output was lost, discarded, refused or left unread
  2  the command line is wrong
  3  there is no history, or it may not be read: `tracer daemon` writes it"
)]
pub struct WhyArgs {
    /// Folder of the history.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    history: PathBuf,
    /// When it ran: 03:12 and 03:12:30 (the latest such time), 2026-11-28T03:12, 2h (ago), or as in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Moment>,
    /// Format of the report. Programs should read `json` or `ndjson`; the others are for people and change.
    ///
    /// Formats other than `human` need a command whose report was kept: one with a loss or a warning.
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the answer to this file (mode 0600); `-` is standard output [default: -].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// When to colour.
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    #[command(flatten)]
    view: view::ViewArgs,
    #[command(flatten)]
    subject: SubjectArgs,
}

impl WhyArgs {
    /// The settings of `tracer why`.
    ///
    /// # Errors
    /// A sentence for the user about options that cannot be used together.
    pub fn into_settings(self) -> Result<WhySettings, String> {
        let format: Format = self.format.into();
        let question = Question {
            subject: self.subject.into_subject(),
            at_us: self.at.map(|at| at.from_us),
            precision_us: self.at.map_or(0, |at| at.until_us - at.from_us),
        };
        Ok(WhySettings {
            folder: self.history,
            question,
            format,
            view: self.view.choice(format)?,
            output: report_to(self.output),
            color: self.color.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Action, Cli, one_line};

    fn history(args: &[&str]) -> Result<HistorySettings, String> {
        let args = ["tracer", "history"].iter().chain(args);
        match Cli::try_parse_from(args).map_err(|error| one_line(&error, &[]))?.action {
            Some(Action::History(args)) => args.into_settings(),
            action => panic!("{action:?}"),
        }
    }

    fn why(args: &[&str]) -> Result<WhySettings, String> {
        let args = ["tracer", "why"].iter().chain(args);
        match Cli::try_parse_from(args).map_err(|error| one_line(&error, &[]))?.action {
            Some(Action::Why(args)) => args.into_settings(),
            action => panic!("{action:?}"),
        }
    }

    #[test]
    fn a_list_for_a_person_is_short_and_one_for_a_program_whole() {
        let settings = history(&[]).unwrap();
        assert_eq!((settings.limit, settings.folder), (Some(LINES), FOLDER.into()));
        assert_eq!(history(&["--format", "ndjson"]).unwrap().limit, None);
        assert_eq!(history(&["--format", "ndjson", "--limit", "5"]).unwrap().limit, Some(5));
    }

    #[test]
    fn times_the_wrong_way_round_are_one_sentence() {
        let sentence = history(&["--since", "1h", "--until", "2h"]).unwrap_err();
        assert!(sentence.starts_with("--since") && sentence.lines().count() == 1, "{sentence}");
        assert!(history(&["--since", "2h", "--until", "1h"]).is_ok());
        assert!(history(&["--since", "soon"]).unwrap_err().contains("03:12"));
    }

    #[test]
    fn a_question_names_what_it_is_about() {
        let sentence = why(&["--at", "03:12"]).unwrap_err();
        assert!(sentence.contains("--container") && sentence.lines().count() == 1, "{sentence}");
        let question = why(&["--pod", "a/b", "--name", "^x", "--at", "03:12"]).unwrap().question;
        assert_eq!(question.subject.pod.as_deref(), Some("a/b"));
        assert_eq!(question.precision_us, 59_999_999);
        assert!(why(&["--name", "a("]).unwrap_err().contains("a("));
    }
}
