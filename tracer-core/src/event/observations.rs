//! Observations from user space, which no hook delivers: blocked threads, files at the end, logs and environments.

use tracer_common::{id::ProcessId, object::ObjectId};

/// A thread that was blocked in a call.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct BlockedThread {
    /// Its process.
    pub process: ProcessId,
    /// The thread.
    pub tid: u32,
    /// The kind of call.
    pub call: BlockedCall,
    /// The fd of the call; -1 if the call names none.
    pub fd: i32,
    /// The object that the fd leads to, if it is watched.
    pub object: Option<ObjectId>,
    /// The path that the call opens, else what the fd leads to; empty if it has neither, or if that could not be read.
    pub path: String,
    /// Of a call that reads a pipe: a process that can write to it, in words; empty if none was found, or looked for.
    pub writer: String,
    /// Whether that path is a FIFO, which the call opens for writing only.
    pub opens_fifo: bool,
    /// Whether the process runs in the background of its terminal.
    pub in_background: bool,
}

/// The call in which a thread is blocked.
#[derive(
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
)]
#[serde(rename_all = "snake_case")]
pub enum BlockedCall {
    /// A call that writes.
    Write,
    /// A call that reads.
    Read,
    /// A call that opens a file.
    Open,
    /// A call that waits for a lock on a file.
    Lock,
    /// No call: a signal has stopped the process.
    Stopped,
    /// Anything else.
    #[default]
    Other,
}

/// What the path of a file leads to at the end of the trace.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FileNow {
    /// Its path still leads to it.
    Same,
    /// Its path leads to another file: it was rotated or replaced.
    Replaced,
    /// Its path leads nowhere: it was removed or renamed.
    #[default]
    Gone,
    /// Its path cannot be followed from where tracer runs: it is below another root or in another mount namespace.
    NotVisible,
}

/// The part of a container engine's log file that was written during the trace.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct LogTally {
    /// The engine: the process that is proven to serve its socket, and that wrote the file.
    pub engine: ProcessId,
    /// Id of the container, as the engine names it together with the file.
    pub container: String,
    /// Bytes of stdout, decoded.
    pub stdout: u64,
    /// Bytes of stderr, decoded.
    pub stderr: u64,
    /// Lines.
    pub lines: u64,
}

/// Something that tracer wanted to look at and did not see: the kernel did not answer in time, because the file
/// system, the memory or the disk behind it stands still.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct NotSeen {
    /// What was to be looked at.
    pub look: Look,
    /// The process; the default if the look is not about one, or if this stands for several looks.
    pub process: ProcessId,
    /// The object, if the look is about one.
    pub object: Option<ObjectId>,
    /// The number of looks that this stands for.
    pub looks: u64,
}

/// A gVisor sandbox whose guests are processes of the session.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Sandbox {
    /// Its number: [`ProcessId::sandbox`] of its guests.
    pub number: u32,
    /// Id of the container, or of the first of several in one sandbox.
    pub container: String,
    /// gVisor's kernel: the process of this machine in which the guests run; the default if it is not known.
    pub sentry: ProcessId,
    /// Whether the sandbox ran before tracer looked into it, so that earlier calls are not counted.
    pub looked_late: bool,
    /// Open files of this machine that were handed in.
    pub handed_in: Vec<HandedIn>,
    /// The fds that the user asked for (bit n is fd n), if tracer counts all of every process for the sandbox's sake alone.
    pub only_fds: Option<u64>,
}

/// An open file of this machine that a sandbox was given, like the standard streams of a container.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct HandedIn {
    /// What it is inside.
    pub object: ObjectId,
    /// Its fd in gVisor's kernel.
    pub fd: i32,
}

/// What user space looks at.
#[derive(
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Arguments and environment of a process.
    #[default]
    Process,
    /// The calls in which the threads of a process are blocked.
    Threads,
    /// Size and name of a file at the end.
    File,
    /// Content of a container engine's log file.
    Log,
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
    /// Bytes that were in the log and could not be read before the report. Then no claim of this log is used.
    pub unread: u64,
}

/// What a manager's log claims about one process.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Claim {
    /// The pid that the log names; for a process in a container, its pid inside the container.
    pub pid: u32,
    /// The container that it names.
    pub container: Option<String>,
    /// The command that it names.
    pub command: Vec<String>,
    /// Replies about stdout.
    pub stdout: Replies,
    /// Replies about stderr.
    pub stderr: Replies,
    /// How often it returned no bytes after it had returned some.
    pub empty_again: u32,
}

/// What a manager returned of one stream.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Replies {
    /// Number of lines of the log that say so.
    pub lines: u64,
    /// Sum of their bytes.
    pub bytes: u64,
}

impl Replies {
    /// Adds the replies of another log.
    pub fn add(&mut self, other: Self) {
        self.lines = self.lines.saturating_add(other.lines);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// The bytes, if the log has a line about them.
    #[must_use]
    pub fn claimed(&self) -> Option<u64> {
        (self.lines > 0).then_some(self.bytes)
    }
}
