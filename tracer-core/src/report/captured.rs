//! The part of the report about captured output: what there is, and what was lost on its way.

use serde::{Deserialize, Serialize};

use crate::capture::{Keep, recovery::Doubt, summary::GapSum};

/// What `--capture` saved.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Captured {
    /// The folder.
    pub directory: String,
    /// Bytes kept of each stream; `None` for all.
    pub limit: Option<u64>,
    /// Which ones, when there are more.
    pub keep: Keep,
    /// Every stream, in the order of its first write.
    pub streams: Vec<CapturedStream>,
    /// Output that did not arrive: first what nobody read, then what findings are about.
    pub recovered: Vec<Recovered>,
    /// How many more such outputs there are.
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
    /// Bytes that the kernel counted.
    pub written: u64,
    /// Bytes in the file.
    pub kept: u64,
    /// Bytes cut from the file's front, because the last ones were to be kept.
    pub cut: u64,
    /// Bytes in gaps.
    pub missing: u64,
    /// The gaps, one entry for each reason and source.
    pub gaps: Vec<GapSum>,
}

/// Output that did not arrive, or not for certain.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Recovered {
    /// What it is.
    pub kind: RecoveredKind,
    /// Where it was written to, as in [`super::Object::id`].
    pub object: String,
    /// Through which fds.
    pub fds: Vec<i32>,
    /// Who wrote.
    pub pids: Vec<u32>,
    /// Their names, in the order of `pids`.
    pub comms: Vec<String>,
    /// Bytes of it that there are.
    pub bytes: u64,
    /// Bytes of it that are not in the capture.
    pub missing: u64,
    /// Whether these are certainly the bytes, and all of them.
    pub exact: bool,
    /// Why not.
    pub doubts: Vec<Doubt>,
    /// The last of it, as text: at most 2 KiB and 20 lines, secrets redacted.
    pub text: String,
    /// Bytes that come before `text`.
    pub text_cut: u64,
    /// Where `--recover` wrote all of it.
    pub file: Option<String>,
}

/// What a [`Recovered`] is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RecoveredKind {
    /// What was left unread in an object.
    #[default]
    Unread,
    /// All that a process wrote to a stream of which a finding speaks.
    Stream,
}
