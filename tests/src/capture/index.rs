//! The lines of an index, as its documentation words them.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// One line.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// The first one.
    Capture {},
    /// A stream begins.
    Stream(Declared),
    /// Bytes went into its file.
    Write(Write),
    /// Bytes did not.
    Gap(Gap),
    /// A stream's books.
    End(Total),
}

/// A stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Its number.
    pub stream: u32,
    /// `PID@START`.
    pub process: String,
    /// Name of the process at the first write.
    pub comm: String,
    /// The fd.
    pub fd: i32,
    /// `DEV:INODE`.
    pub object: String,
    /// The file's name.
    pub file: String,
}

/// Bytes of one write.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// The stream's number.
    pub stream: u32,
    /// Where in the file, before anything was cut from its front.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// When.
    pub time_ns: u64,
    /// By which thread.
    pub tid: u32,
    /// How.
    pub syscall: String,
}

/// Bytes that are not there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The stream's number.
    pub stream: u32,
    /// Where in the file they would begin.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// When that was noticed.
    pub time_ns: u64,
    /// Why.
    pub reason: String,
    /// Where they came from.
    pub source: Option<String>,
}

/// A stream's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// The stream's number.
    pub stream: u32,
    /// Bytes the kernel counted.
    pub written: u64,
    /// Bytes in the file.
    pub kept: u64,
    /// Bytes cut from its front.
    pub cut: u64,
    /// Bytes in gaps.
    pub missing: u64,
}

/// Whether this is the first line of an index.
pub(super) fn check_head(line: &str) -> Result<()> {
    let head: Value = serde_json::from_str(line)?;
    let is_head = head["type"] == "capture" && head["schema"] == "tracer.capture/1";
    ensure!(is_head, "the index begins with {line}");
    Ok(())
}
