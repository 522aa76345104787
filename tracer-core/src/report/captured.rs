//! The part of the report about captured output: what was saved, and what was recovered.

use serde::{Deserialize, Serialize};

use crate::capture::{Keep, recovery::Doubt, summary::GapSum};

/// Output saved by `--capture`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Captured {
    /// The folder.
    pub directory: String,
    /// Bytes kept of each stream; `None` for all.
    pub limit: Option<u64>,
    /// Which bytes are kept if there are more.
    pub keep: Keep,
    /// All streams, in the order of their first write.
    pub streams: Vec<CapturedStream>,
    /// Output that did not arrive: first unread bytes, then streams that findings are about.
    pub recovered: Vec<Recovered>,
    /// Number of further outputs that are left out.
    #[serde(default)]
    pub more: u64,
}

/// What one process wrote through one fd to one object: `written = kept + cut + missing`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct CapturedStream {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name at the first write.
    pub comm: String,
    /// Fd number; -1 for a file registered with io_uring.
    pub fd: i32,
    /// The object's id, as in [`super::Object::id`].
    pub object: String,
    /// Its file within the folder.
    pub file: String,
    /// Bytes written, as counted in the kernel.
    pub written: u64,
    /// Bytes in the file.
    pub kept: u64,
    /// Bytes cut from the front of the file, because only the last ones are kept.
    pub cut: u64,
    /// Bytes in gaps.
    pub missing: u64,
    /// The gaps, one entry for each reason and source.
    pub gaps: Vec<GapSum>,
}

/// Output that did not arrive, or may not have arrived.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Recovered {
    /// Its kind.
    pub kind: RecoveredKind,
    /// The object that it was written to, as in [`super::Object::id`].
    pub object: String,
    /// The fds that it was written through.
    pub fds: Vec<i32>,
    /// Pids of the writers.
    pub pids: Vec<u32>,
    /// Their names, in the order of `pids`.
    pub comms: Vec<String>,
    /// Bytes in the capture.
    pub bytes: u64,
    /// Bytes that are not in the capture.
    pub missing: u64,
    /// Whether these are certainly all of the bytes, and no others.
    pub exact: bool,
    /// Why it is uncertain.
    pub doubts: Vec<Doubt>,
    /// Its end as text: at most 2 KiB and 20 lines, redacted.
    pub text: String,
    /// Number of bytes before `text`.
    pub text_cut: u64,
    /// The file that `--recover` wrote it to.
    pub file: Option<String>,
}

/// Kinds of recovered output.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RecoveredKind {
    /// Unread bytes of an object.
    #[default]
    Unread,
    /// All bytes that a process wrote to a stream that a finding is about.
    Stream,
}
