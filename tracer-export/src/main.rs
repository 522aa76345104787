//! Writes the history of tracer as Parquet or NDJSON, `tracer.export/1`: a row for each command and stream.
//!
//! `tracer export` starts it. It is a program of its own because of the size of Parquet, and needs neither eBPF nor tracer:
//! it works on a copy of a history, too.

#![forbid(unsafe_code)]

mod columns;
mod export;
mod ndjson;
mod options;
mod output;
mod parquet_file;
mod rows;
mod table;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use self::{
    export::{ExportError, Exported},
    options::Task,
};

/// The command line is wrong.
const USAGE: u8 = 2;
/// There is no export.
const ENVIRONMENT: u8 = 3;

fn main() -> ExitCode {
    let done = match options::parse(env::args_os().skip(1)) {
        Ok(Task::Help) => print(options::HELP),
        Ok(Task::Version) => print(concat!("tracer-export ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Task::Export(options)) => export::export(&options),
        Err(sentence) => return fail(&sentence, USAGE),
    };
    match done {
        Ok(Exported { is_damaged: false }) => ExitCode::SUCCESS,
        Ok(Exported { is_damaged: true }) => {
            say(
                "a part of the history cannot be read and is not in the export: --gaps FILE has its time",
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string(), ENVIRONMENT),
    }
}

fn print(text: &str) -> Result<Exported, ExportError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ExportError::Output { name: "standard output".into(), source: error })
        }
        _ => Ok(Exported { is_damaged: false }),
    }
}

fn fail(sentence: &str, code: u8) -> ExitCode {
    say(sentence);
    ExitCode::from(code)
}

/// Prints a line on standard error. Names in it may have any characters.
fn say(sentence: &str) {
    let line: String = sentence
        .chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect();
    // If standard error is closed, nothing can be told.
    let _ = writeln!(io::stderr(), "tracer-export: {line}");
}
