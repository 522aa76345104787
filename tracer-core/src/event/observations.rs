//! What user space saw beside the hooks: threads asleep, files at the end, logs and environments.

use tracer_common::{id::ProcessId, object::ObjectId};

/// A thread that was asleep in a call.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct BlockedThread {
    /// Its process.
    pub process: ProcessId,
    /// The thread.
    pub tid: u32,
    /// In what.
    pub call: BlockedCall,
    /// On which fd; -1 where the call names none.
    pub fd: i32,
    /// What the fd leads to, where it is under watch.
    pub object: Option<ObjectId>,
}

/// What a thread sleeps in.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BlockedCall {
    /// A call that writes.
    Write,
    /// A call that reads.
    Read,
    /// Anything else.
    #[default]
    Other,
}

/// What became of a file.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FileNow {
    /// Its path still leads to it.
    Same,
    /// Its path leads to another file: it was rotated or replaced.
    Replaced,
    /// Its path leads nowhere.
    #[default]
    Gone,
}

/// What a container engine's log file holds of what was logged while it was watched.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct LogTally {
    /// Bytes of stdout, decoded.
    pub stdout: u64,
    /// Bytes of stderr, decoded.
    pub stderr: u64,
    /// Lines.
    pub lines: u64,
}

/// How well a manager's log could be read.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct LogRead {
    /// Its path, or `-`.
    pub name: String,
    /// Lines read.
    pub lines: u64,
    /// Lines that look like claims and could not be read.
    pub bad: u64,
    /// The first of those, shortened.
    pub first_bad: Option<String>,
}

/// What a manager's log says of one process.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Claim {
    /// The pid that the log names: inside the container, where it runs in one.
    pub pid: u32,
    /// The container that it names.
    pub container: Option<String>,
    /// The command that it names.
    pub command: Vec<String>,
    /// Replies about stdout.
    pub stdout: Replies,
    /// Replies about stderr.
    pub stderr: Replies,
    /// How often it handed out nothing after it had handed out something.
    pub empty_again: u32,
}

/// What a manager handed out of one stream.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Replies {
    /// How many lines of its log say so; 0 when there is none.
    pub lines: u64,
    /// The bytes that they add up to.
    pub bytes: u64,
}

impl Replies {
    /// Adds what another log says.
    pub fn add(&mut self, other: Self) {
        self.lines = self.lines.saturating_add(other.lines);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// The bytes, where the log has a line about them.
    #[must_use]
    pub fn claimed(&self) -> Option<u64> {
        (self.lines > 0).then_some(self.bytes)
    }
}
