//! The command line. `tracer export` describes it: this program is what it starts.

use std::{ffi::OsString, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};
use tracer_history::{FOLDER, Moment, moment};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Writes the history of tracer as Parquet or NDJSON: a row for each command and stream.

Usage: tracer-export [OPTIONS]      (or: tracer export [OPTIONS])

  --history DIR     folder of the history, or of a copy of it [default: /var/lib/tracer]
  --format FORMAT   parquet or ndjson [default: parquet]
  -o, --output FILE the rows (mode 0600, replaced when whole); - is standard output [default: -]
  --gaps FILE       also the times in which something was not recorded, in the same format
  --since TIME      only what ended then or later: 1d (ago), 03:12, 2026-11-28T03:12, RFC 3339
  --until TIME      only what ended then or earlier
  --lost            only commands whose output did not arrive
  --node NAME       name in the column `node` [default: the name of this machine]
  -h, --help        this text
  -V, --version     the version
";

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Parquet,
    Ndjson,
}

/// What is exported, and where to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) history: PathBuf,
    pub(crate) format: Format,
    /// `None` is standard output.
    pub(crate) output: Option<PathBuf>,
    pub(crate) gaps: Option<PathBuf>,
    pub(crate) since_us: Option<i64>,
    pub(crate) until_us: Option<i64>,
    pub(crate) lost: bool,
    /// `None` is the name of this machine.
    pub(crate) node: Option<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Export(Options),
    Help,
    Version,
}

/// Reads the arguments, without the name of the program.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Task, String> {
    let mut options = Options {
        history: FOLDER.into(),
        format: Format::Parquet,
        output: None,
        gaps: None,
        since_us: None,
        until_us: None,
        lost: false,
        node: None,
    };
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Arg::Long("history") => options.history = path(&mut parser)?,
            Arg::Long("format") => options.format = format(&text(&mut parser)?)?,
            Arg::Short('o') | Arg::Long("output") => options.output = Some(path(&mut parser)?),
            Arg::Long("gaps") => options.gaps = Some(path(&mut parser)?),
            Arg::Long("since") => options.since_us = Some(time(&mut parser, "--since")?.from_us),
            Arg::Long("until") => options.until_us = Some(time(&mut parser, "--until")?.until_us),
            Arg::Long("lost") => options.lost = true,
            Arg::Long("node") => options.node = Some(text(&mut parser)?),
            Arg::Short('h') | Arg::Long("help") => return Ok(Task::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Task::Version),
            other => return Err(sentence(other.unexpected())),
        }
    }
    let is_stdout = |path: &PathBuf| path.as_os_str() == "-" || path.as_os_str() == "/dev/stdout";
    options.output = options.output.filter(|path| !is_stdout(path));
    check(&options, options.gaps.as_ref().is_some_and(is_stdout))?;
    Ok(Task::Export(options))
}

fn check(options: &Options, are_gaps_to_stdout: bool) -> Result<(), String> {
    if are_gaps_to_stdout || options.gaps.is_some() && options.gaps == options.output {
        return Err("--gaps needs a file of its own, because its columns are others".into());
    }
    match (options.since_us, options.until_us) {
        (Some(since), Some(until)) if since > until => {
            Err("--since is later than --until, so nothing is between them: exchange them".into())
        }
        _ => Ok(()),
    }
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "parquet" => Ok(Format::Parquet),
        "ndjson" => Ok(Format::Ndjson),
        other => Err(format!("there is no format {other}: name parquet or ndjson")),
    }
}

fn time(parser: &mut Parser, option: &str) -> Result<Moment, String> {
    let text = text(parser)?;
    moment(&text).map_err(|forms| format!("{option} {text} is no time: {forms}"))
}

fn path(parser: &mut Parser) -> Result<PathBuf, String> {
    parser.value().map(PathBuf::from).map_err(sentence)
}

fn text(parser: &mut Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(sentence)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn sentence(error: lexopt::Error) -> String {
    format!("{error} (see tracer-export --help)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read() {
        let line = "--history /h --format ndjson -o /o --gaps /g --since 2026-11-28T03:00:00Z \
                    --until 2026-11-28T04:00:00Z --lost --node n";
        let Ok(Task::Export(options)) = read(line) else { panic!("{:?}", read(line)) };
        let expected = Options {
            history: "/h".into(),
            format: Format::Ndjson,
            output: Some("/o".into()),
            gaps: Some("/g".into()),
            since_us: Some(1_795_834_800_000_000),
            until_us: Some(1_795_838_400_000_000 + 999_999),
            lost: true,
            node: Some("n".into()),
        };
        assert_eq!(options, expected);
        assert!(matches!(read("-o -"), Ok(Task::Export(Options { output: None, .. }))));
        assert_eq!((read("--help"), read("-V")), (Ok(Task::Help), Ok(Task::Version)));
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        for (line, named) in [
            ("--format csv", "csv"),
            ("--since soon", "soon"),
            ("--since", "--since"),
            ("--since 1h --until 2h", "--since"),
            ("--gaps -", "--gaps"),
            ("-o a --gaps a", "--gaps"),
            ("--no-such", "--no-such"),
            ("file", "file"),
        ] {
            let sentence = read(line).unwrap_err();
            assert!(sentence.contains(named) && sentence.lines().count() == 1, "{sentence}");
        }
    }
}
