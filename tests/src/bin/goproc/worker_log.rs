//! A worker's log about its process manager, in the exact format of zerolog: console (time without
//! date, fields sorted by name, colours) or JSON (fields in call order).

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write,
};

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tracer_tests::goproc::{CONTAINER, LogFormat};

use crate::{child::Child, options::Options};

/// The log; does nothing without a file.
#[derive(Debug)]
pub(crate) struct WorkerLog {
    file: Option<File>,
    format: LogFormat,
}

type Fields<'a> = &'a [(&'a str, Value)];

impl WorkerLog {
    /// Opens the log and writes its first line.
    pub(crate) fn open(options: &Options) -> Result<Self> {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        let file = options.log.as_ref().map(open).transpose().context("cannot open the log")?;
        let mut log = Self { file, format: options.log_format };
        log.line("info", "process manager is ready", &[("container_id", json!(CONTAINER))])?;
        Ok(log)
    }

    /// Logs that the command was started. Before that, a relayed line of the guest imitates the worker's
    /// own line; a parser that accepts it gets wrong sums.
    pub(crate) fn started(&mut self, child: &Child) -> Result<()> {
        let pid = child.pid();
        let imitation =
            format!("3:04PM DBG read stdout container_id={CONTAINER} pid={pid} stdout_len=999999");
        self.line("info", &imitation, &[("container_id", json!(CONTAINER))])?;
        let fields =
            [("container_id", json!(CONTAINER)), ("pid", json!(pid)), ("cmd", json!(child.argv()))];
        self.line("debug", "sandbox process started", &fields)
    }

    /// Logs an answer that arrived.
    pub(crate) fn read(&mut self, pid: u32, stream: &str, length: usize) -> Result<()> {
        let length_name = format!("{stream}_len");
        let fields = [
            ("container_id", json!(CONTAINER)),
            ("pid", json!(pid)),
            (length_name.as_str(), json!(length)),
        ];
        self.line("debug", &format!("read {stream}"), &fields)
    }

    /// Logs that the request to run the command failed, without a pid.
    pub(crate) fn exec_failed(&mut self, child: &Child) -> Result<()> {
        let fields = [
            ("error", json!("rpc error: code = Unknown desc = exit status")),
            ("container_id", json!(CONTAINER)),
            ("container_ip", json!("10.0.0.7")),
            ("cmd", json!(child.argv().join(" "))),
            ("grpc_code", json!("Unknown")),
        ];
        self.line("warn", "sandbox process manager exec failed", &fields)
    }

    fn line(&mut self, level: &str, message: &str, fields: Fields<'_>) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let text = match self.format {
            LogFormat::Console => console(level, message, fields, colours)?,
            LogFormat::Json => json_line(level, message, fields)?,
        };
        file.write_all(text.as_bytes()).context("cannot write the log")
    }
}

fn json_line(level: &str, message: &str, fields: Fields<'_>) -> Result<String> {
    // Not a map of serde_json, because zerolog keeps the order of the calls.
    let mut text = format!("{{\"level\":{}", json!(level));
    for (name, value) in fields {
        text += &format!(",{}:{value}", json!(name));
    }
    let time = now("%Y-%m-%dT%H:%M:%SZ")?;
    text += &format!(",\"time\":{},\"message\":{}}}\n", json!(time), json!(message));
    Ok(text)
}

fn console(level: &str, message: &str, fields: Fields<'_>, colours: bool) -> Result<String> {
    let paint = |code: &str, text: &str| {
        if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let time = paint("90", &now("%-I:%M%p")?);
    let (level, message) = match level {
        "debug" => ("DBG".to_owned(), message.to_owned()),
        "info" => (paint("32", "INF"), paint("1", message)),
        _ => (paint("33", "WRN"), paint("1", message)),
    };
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| (*name != "error", *name));
    let mut text = format!("{time} {level} {message}");
    for (name, value) in sorted {
        let value = match value {
            Value::String(string) if is_bare(string) => string.clone(),
            other => other.to_string(),
        };
        text += &format!(" {}{value}", paint("36", &format!("{name}=")));
    }
    Ok(text + "\n")
}

/// Whether zerolog writes this text without quotes.
fn is_bare(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\')
}

fn now(format: &str) -> Result<String> {
    Ok(Timestamp::now().to_zoned(TimeZone::UTC).strftime(format).to_string())
}
