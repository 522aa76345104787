//! What user space saw beside the hooks: threads asleep, files at the end, logs and environments.

use tracer_common::{id::ProcessId, object::ObjectId};

/// What user space saw: in `/proc`, in a file, in a manager's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Outside {
    /// Environment variables of a process that change what programs print.
    Environment {
        /// Whose.
        process: ProcessId,
        /// Name and value, only those that are set.
        variables: Vec<(String, String)>,
    },
    /// What became of a file.
    File {
        /// Which.
        object: ObjectId,
        /// Its size, or that it is another one now.
        now: FileNow,
    },
    /// What a container engine's log file holds.
    Log {
        /// The file.
        object: ObjectId,
        /// The sums.
        tally: LogTally,
    },
    /// A thread asleep in a call when the trace ended.
    Asleep(Asleep),
    /// What a manager's log says.
    HandedOut(HandedOut),
    /// How well a manager's log could be read.
    LogRead(LogRead),
}

/// A thread that was asleep in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// Its process.
    pub process: ProcessId,
    /// The thread.
    pub tid: u32,
    /// In what.
    pub call: Waiting,
    /// On which fd, where the call names one.
    pub fd: Option<i32>,
    /// What the fd leads to, where it is under watch.
    pub object: Option<ObjectId>,
    /// When that was seen, nanoseconds since boot.
    pub time_ns: u64,
}

/// What a thread sleeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A call that writes.
    Write,
    /// A call that reads.
    Read,
    /// Anything else.
    Other,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileNow {
    /// Its path still leads to it, and this is its size in bytes.
    Same {
        /// Bytes.
        size: u64,
    },
    /// Its path leads to another file: it was rotated or replaced.
    Replaced,
    /// Its path leads nowhere.
    Gone,
}

/// What a container engine's log file holds of what was logged while it was watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTally {
    /// Bytes of stdout, decoded.
    pub stdout: u64,
    /// Bytes of stderr, decoded.
    pub stderr: u64,
    /// Lines.
    pub lines: u64,
}

/// How well a manager's log could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    /// The pid that the log names: inside the container, where it runs in one.
    pub pid: u32,
    /// The container that it names.
    pub container: Option<String>,
    /// The command that it names.
    pub command: Vec<String>,
    /// Bytes of stdout handed out; `None` when the log has no line about it.
    pub stdout: Option<u64>,
    /// Bytes of stderr handed out.
    pub stderr: Option<u64>,
    /// How often it handed out nothing after it had handed out something.
    pub empty_again: u32,
}
