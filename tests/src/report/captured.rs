//! The part of the report about captured output.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Report;

/// What `--capture` saved.
#[derive(Clone, Debug, Deserialize)]
pub struct CapturedOutput {
    /// Path of the folder.
    pub directory: String,
    /// The captured streams.
    pub streams: Vec<CapturedStream>,
    /// Output that did not arrive.
    pub recovered: Vec<Recovered>,
}

/// The output of one process through one fd to one object.
#[derive(Clone, Debug, Deserialize)]
pub struct CapturedStream {
    /// Pid of the writer.
    pub pid: u32,
    /// Name of the writer.
    pub comm: String,
    /// The fd.
    pub fd: i32,
    /// The object, as in [`super::FdRow::object`].
    pub object: String,
    /// Name of its file.
    pub file: String,
    /// Bytes written.
    pub written: u64,
    /// Bytes in the file.
    pub kept: u64,
    /// Bytes cut from the front of the file.
    pub cut: u64,
    /// Bytes in gaps.
    pub missing: u64,
    /// Its gaps, summed up by reason and source.
    pub gaps: Vec<CapturedGap>,
}

/// Gaps with the same reason and source.
#[derive(Clone, Debug, Deserialize)]
pub struct CapturedGap {
    /// Name of the reason.
    pub reason: String,
    /// Missing bytes.
    pub bytes: u64,
    /// Number of gaps.
    pub times: u64,
    /// File from which the kernel copied the bytes, if known.
    pub source: Option<String>,
}

/// Recovered output.
#[derive(Clone, Debug, Deserialize)]
pub struct Recovered {
    /// `unread` (left in a pipe) or `stream` (a whole stream).
    pub kind: String,
    /// The object it was written to.
    pub object: String,
    /// The fds of the writers.
    pub fds: Vec<i32>,
    /// Pids of the writers.
    pub pids: Vec<u32>,
    /// Recovered bytes.
    pub bytes: u64,
    /// Bytes that are not in the capture.
    pub missing: u64,
    /// Whether these are certainly the right bytes.
    pub exact: bool,
    /// The last part, as text.
    pub text: String,
    /// Bytes before `text`.
    pub text_cut: u64,
    /// File with all of the bytes (`--recover`).
    pub file: Option<String>,
}

impl Report {
    /// The part about captured output, which must exist.
    pub fn captured(&self) -> Result<&CapturedOutput> {
        self.capture.as_ref().context("the report has no capture")
    }

    /// The recovered output of this kind; fails unless there is exactly one.
    pub fn recovered(&self, kind: &str) -> Result<&Recovered> {
        let recovered = &self.captured()?.recovered;
        let found: Vec<_> = recovered.iter().filter(|found| found.kind == kind).collect();
        match found[..] {
            [found] => Ok(found),
            _ => anyhow::bail!("not one recovered output of kind {kind}: {recovered:#?}"),
        }
    }
}
