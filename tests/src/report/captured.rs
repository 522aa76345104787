//! The part of the report about captured output.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Report;

/// What `--capture` saved.
#[derive(Clone, Debug, Deserialize)]
pub struct CapturedOutput {
    /// The folder.
    pub directory: String,
    /// Every stream.
    pub streams: Vec<CapturedStream>,
    /// Output that did not arrive.
    pub recovered: Vec<Recovered>,
}

/// What one process wrote through one fd to one object.
#[derive(Clone, Debug, Deserialize)]
pub struct CapturedStream {
    /// Who.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Through which fd.
    pub fd: i32,
    /// To what, as in [`super::FdRow::object`].
    pub object: String,
    /// Name of its file.
    pub file: String,
    /// Bytes that were written.
    pub written: u64,
    /// Bytes in the file.
    pub kept: u64,
    /// Bytes cut from its front.
    pub cut: u64,
    /// Bytes in gaps.
    pub missing: u64,
    /// The gaps.
    pub gaps: Vec<CapturedGap>,
}

/// Gaps of one kind.
#[derive(Clone, Debug, Deserialize)]
pub struct CapturedGap {
    /// Why.
    pub reason: String,
    /// How many bytes.
    pub bytes: u64,
    /// How many gaps.
    pub times: u64,
    /// Where the bytes came from.
    pub source: Option<String>,
}

/// Output that did not arrive.
#[derive(Clone, Debug, Deserialize)]
pub struct Recovered {
    /// `unread` or `stream`.
    pub kind: String,
    /// Where it was written to.
    pub object: String,
    /// Through which fds.
    pub fds: Vec<i32>,
    /// Who wrote.
    pub pids: Vec<u32>,
    /// How much of it there is.
    pub bytes: u64,
    /// How much is not.
    pub missing: u64,
    /// Whether that is certain.
    pub exact: bool,
    /// The end of it.
    pub text: String,
    /// Bytes before that.
    pub text_cut: u64,
    /// Where all of it is.
    pub file: Option<String>,
}

impl Report {
    /// What was captured.
    pub fn captured(&self) -> Result<&CapturedOutput> {
        self.capture.as_ref().context("the report tells of no capture")
    }

    /// The one output of this kind that did not arrive.
    pub fn recovered(&self, kind: &str) -> Result<&Recovered> {
        let recovered = &self.captured()?.recovered;
        let found: Vec<_> = recovered.iter().filter(|found| found.kind == kind).collect();
        match found[..] {
            [found] => Ok(found),
            _ => anyhow::bail!("not one recovered output of kind {kind}: {recovered:#?}"),
        }
    }
}
