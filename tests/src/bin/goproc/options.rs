//! Command-line options.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use tracer_tests::goproc::{Behaviour, LogFormat};

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// Path of the account file.
    pub(crate) account: PathBuf,
    /// The behaviour.
    pub(crate) behaviour: Behaviour,
    /// Number of bytes; its use depends on the behaviour.
    pub(crate) bytes: usize,
    /// Path of the worker's log.
    pub(crate) log: Option<PathBuf>,
    /// Format of the worker's log.
    pub(crate) log_format: LogFormat,
    /// The command line to run.
    pub(crate) argv: Vec<String>,
}

impl Options {
    /// Parses the arguments after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            account: PathBuf::new(),
            behaviour: Behaviour::Faithful,
            bytes: 0,
            log: None,
            log_format: LogFormat::Console,
            argv: Vec::new(),
        };
        while let Some(word) = words.next() {
            if word == "--" {
                options.argv = words.collect();
                break;
            }
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--account" => options.account = value.into(),
                "--behaviour" => options.behaviour = Behaviour::from_word(&value)?,
                "--bytes" => options.bytes = value.parse().context("--bytes")?,
                "--log" => options.log = Some(value.into()),
                "--log-format" => options.log_format = LogFormat::from_word(&value)?,
                _ => bail!("unknown option {word}"),
            }
        }
        ensure!(!options.argv.is_empty(), "no command after --");
        ensure!(!options.account.as_os_str().is_empty(), "--account FILE is needed");
        Ok(options)
    }
}
