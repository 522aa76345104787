//! The arguments of `tracer export`, which the program tracer-export reads again.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tracer_history::{FOLDER, Moment, moment};

/// What follows the options in the help.
pub(super) const AFTER: &str = "\
EXAMPLES
  tracer export --since 1d -o day.parquet         the last 24 hours
  tracer export --since 2026-11-27 --until 2026-11-27 -o day.parquet --gaps gaps.parquet
  tracer export --format ndjson --lost | jq -r '[.container, .rule, .lost] | @tsv'
  duckdb -c \"SELECT container, rule, sum(lost) FROM 'day.parquet' GROUP BY ALL\"
  tracer export --history ./copy --node web-7 -o web-7.parquet

ROWS
  One for each command and stream, with what is in the history: when, where, which command, how many
  bytes, and what became of them. A job that runs for long has only its latest entry, so that sums are
  right. SCHEMA.md describes the columns (tracer.export/1). A file gets its name when it is whole.

EXIT CODE
  0  the rows were written
  2  the command line is wrong
  3  there is no history, it may not be read, the rows cannot be written, or tracer-export is missing";

/// Format of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// Apache Parquet, compressed with zstd.
    #[default]
    Parquet,
    /// One JSON object per line.
    Ndjson,
}

/// What is exported, and where to.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder of the history, or of a copy of it.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    history: PathBuf,
    /// Format of the rows.
    #[arg(long, value_enum, default_value_t)]
    format: ExportFormat,
    /// Write the rows to this file (mode 0600); `-` is standard output [default: -].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write the times in which something was not recorded into this file, in the same format.
    #[arg(long, value_name = "FILE")]
    gaps: Option<PathBuf>,
    /// Only what ended at this time or later: 1d (ago), 03:12, 2026-11-28T03:12, or as in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only what ended at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Only commands whose output did not arrive.
    #[arg(long)]
    lost: bool,
    /// What the column `node` has [default: the name of this machine].
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

impl ExportArgs {
    /// The arguments of tracer-export.
    ///
    /// # Errors
    /// A sentence for the user about times that are the wrong way round.
    pub fn into_arguments(self) -> Result<Vec<OsString>, String> {
        let Self { history, format, output, gaps, since, until, lost, node } = self;
        if let (Some(since), Some(until)) = (since, until)
            && since.from_us > until.until_us
        {
            return Err(
                "--since is later than --until, so nothing is between them: exchange them".into()
            );
        }
        let format = match format {
            ExportFormat::Parquet => "parquet",
            ExportFormat::Ndjson => "ndjson",
        };
        let mut arguments = vec![option("--history", history), option("--format", format)];
        arguments.extend(output.map(|path| option("--output", path)));
        arguments.extend(gaps.map(|path| option("--gaps", path)));
        arguments.extend(since.map(|time| option("--since", exactly(time.from_us))));
        arguments.extend(until.map(|time| option("--until", exactly(time.until_us))));
        arguments.extend(lost.then(|| "--lost".into()));
        arguments.extend(node.map(|name| option("--node", name)));
        Ok(arguments)
    }
}

/// An option with its value in one word, so that a value that begins with a dash is no option.
fn option(name: &str, value: impl Into<OsString>) -> OsString {
    let mut word = OsString::from(format!("{name}="));
    word.push(value.into());
    word
}

/// A time as exact as the history has it: with a fraction, it is one µs long.
fn exactly(us: i64) -> String {
    let time = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Action, Cli, one_line};

    fn arguments(args: &[&str]) -> Result<Vec<OsString>, String> {
        let args = ["tracer", "export"].iter().chain(args);
        match Cli::try_parse_from(args).map_err(|error| one_line(&error, &[]))?.action {
            Some(Action::Export(args)) => args.into_arguments(),
            action => panic!("{action:?}"),
        }
    }

    #[test]
    fn times_keep_their_ends() {
        let args = ["--since=2026-11-27T03:12:00Z", "--until=2026-11-27T03:12:00Z", "--lost"];
        let expected = [
            "--history=/var/lib/tracer",
            "--format=parquet",
            "--since=2026-11-27T03:12:00.000000Z",
            "--until=2026-11-27T03:12:00.999999Z",
            "--lost",
        ];
        assert_eq!(arguments(&args).unwrap(), expected);
    }

    #[test]
    fn names_stay_values() {
        let given = arguments(&["--node=--lost", "-o", "-", "--gaps", "g", "--format", "ndjson"]);
        let expected = ["--format=ndjson", "--output=-", "--gaps=g", "--node=--lost"];
        assert_eq!(given.unwrap()[1..], expected);
        assert!(arguments(&["--format", "csv"]).unwrap_err().contains("csv"));
        assert!(arguments(&["--since", "1h", "--until", "2h"]).unwrap_err().contains("--since"));
    }
}
