//! The lines of a capture's index, as documented.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A line of the index.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// The header, which must be the first line.
    Capture {},
    /// Declares a stream.
    Stream(Declared),
    /// Bytes that were appended to the stream's file.
    Write(Write),
    /// Bytes that are missing from it.
    Gap(Gap),
    /// The byte counts of a stream.
    End(Total),
}

/// The declaration of a stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Number of the stream.
    pub stream: u32,
    /// The process as `PID@START`.
    pub process: String,
    /// Name of the process at its first write.
    pub comm: String,
    /// The fd it writes to.
    pub fd: i32,
    /// The object as `DEV:INODE`.
    pub object: String,
    /// Name of the stream's file.
    pub file: String,
}

/// The bytes of one write.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// The stream's number.
    pub stream: u32,
    /// Offset in the stream's file, before any cut at its front.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Time of the write, in nanoseconds.
    pub time_ns: u64,
    /// The writing thread.
    pub tid: u32,
    /// Name of the system call.
    pub syscall: String,
}

/// Missing bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The stream's number.
    pub stream: u32,
    /// Offset in the file where they would start.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Time at which the gap was noticed, in nanoseconds.
    pub time_ns: u64,
    /// Name of the reason.
    pub reason: String,
    /// File from which the kernel copied the bytes, if known.
    pub source: Option<String>,
}

/// The byte counts of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// The stream's number.
    pub stream: u32,
    /// Bytes written, as counted in the kernel.
    pub written: u64,
    /// Bytes in the file.
    pub kept: u64,
    /// Bytes cut from the front of the file.
    pub cut: u64,
    /// Bytes in gaps.
    pub missing: u64,
}

/// Checks that this line is the header of an index.
pub(super) fn check_head(line: &str) -> Result<()> {
    let head: Value = serde_json::from_str(line)?;
    let is_head = head["type"] == "capture" && head["schema"] == "tracer.capture/1";
    ensure!(is_head, "the index begins with {line}");
    Ok(())
}
