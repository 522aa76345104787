//! The part of the report about managers' logs.

use serde::{Deserialize, Serialize};

/// How well a manager's log could be read.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct WorkerLog {
    /// Its path, or `-` for standard input.
    pub path: String,
    /// Lines read.
    pub lines: u64,
    /// Lines that look like statements and could not be read.
    pub bad: u64,
    /// The first of those, shortened.
    pub first_bad: Option<String>,
    /// Bytes that could not be read in time. If there are any, no claim of this log is used.
    #[serde(default)]
    pub unread: u64,
}

/// What a manager's log claims about one stream of one process, next to what the kernel counted.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Claim {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Pid that the log names.
    pub ns_pid: u32,
    /// Container that the log names.
    pub container: Option<String>,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Bytes that the process wrote to it.
    pub written: u64,
    /// Bytes that were read from it.
    pub read: u64,
    /// Bytes that the manager returned according to the log; `null` if it has no line about the stream.
    pub handed_out: Option<u64>,
}
