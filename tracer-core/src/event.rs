//! Events: what happened to a process or an object, decoded from the kernel side's records or observed in user space.
//!
//! Decoding is total: any byte string gives an event or a named error.

mod decode;
mod observations;
mod raw_text;

use tracer_common::{
    event as layout,
    id::ProcessId,
    object::{FdState, ObjectId, QueueState},
};

pub(crate) use self::decode::{Record, name};
pub use self::{
    decode::{DecodeError, decode},
    observations::{
        BlockedCall, BlockedThread, Claim, FileNow, HandedIn, LogRead, LogTally, Look, NotSeen,
        Replies, Sandbox,
    },
};

/// One event and when it happened.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, PartialEq)]
pub struct Event {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A target created a process.
    Fork {
        /// The process that called `fork`, `vfork` or `clone`.
        #[serde(default)]
        parent: ProcessId,
        /// The new process.
        #[serde(default)]
        child: ProcessId,
        /// The child's pid in its innermost namespace.
        #[serde(default)]
        ns_pid: u32,
        /// The child's name.
        #[serde(default)]
        comm: String,
    },
    /// A process has an image: it called `execve`, or it was adopted (it ran before the hooks were attached).
    Image(Image),
    /// The last thread of a process ended.
    Exit(Exit),
    /// An object was seen first; it is watched from now on.
    Object {
        /// The facts that are fixed at first sight.
        #[serde(default)]
        object: layout::Object,
        /// Its path, or its socket address; empty when it has none.
        #[serde(default)]
        name: String,
    },
    /// A ledger row was opened.
    FirstIo {
        /// The row and the call that opened it.
        #[serde(default)]
        first: layout::FirstIo,
        /// Name of the process.
        #[serde(default)]
        comm: String,
    },
    /// A small fact.
    Fact {
        /// The fact.
        #[serde(default)]
        fact: layout::Fact,
        /// The raw text: a `sockaddr` or a path.
        #[serde(default, with = "raw_text")]
        text: Vec<u8>,
    },
    /// One end of an object: a process holds it open, has created it, or has closed it.
    Holder {
        /// The process, its fd and the object.
        #[serde(default)]
        holder: layout::Holder,
        /// Name of the process.
        #[serde(default)]
        comm: String,
        /// Which of the three.
        #[serde(default)]
        sighting: Sighting,
    },
    /// User space read the environment of a process: the variables that change what programs print.
    Environment {
        /// The process.
        #[serde(default)]
        process: ProcessId,
        /// Name and value, only those that are set.
        #[serde(default)]
        variables: Vec<(String, String)>,
        /// Whether the environment was longer than what was read, so that variables may be missing.
        #[serde(default)]
        cut: bool,
    },
    /// User space read the arguments of a process that the kernel side could not read.
    Arguments {
        /// The process.
        #[serde(default)]
        process: ProcessId,
        /// Its arguments, or the beginning of them.
        #[serde(default)]
        argv: Vec<String>,
        /// As [`Image::argv_cut`].
        #[serde(default)]
        argv_cut: bool,
        /// As [`Image::argv_bytes`].
        #[serde(default)]
        argv_bytes: u64,
    },
    /// User space looked for a file at the end of the trace.
    File {
        /// The file.
        #[serde(default)]
        object: ObjectId,
        /// Whether its path still leads to it.
        #[serde(default)]
        now: FileNow,
        /// Its size in bytes, if its path still leads to it, or if it has another name.
        #[serde(default)]
        size: u64,
        /// Its new path, if it was renamed in its directory; empty if it was not, or is not found.
        #[serde(default)]
        renamed: String,
    },
    /// User space read a container engine's log file.
    Log {
        /// The file.
        #[serde(default)]
        object: ObjectId,
        /// Sums of its content.
        #[serde(default)]
        tally: LogTally,
    },
    /// User space found a thread blocked in a call when the trace ended.
    #[serde(rename = "asleep")]
    BlockedThread(BlockedThread),
    /// A manager's log says how many bytes it returned.
    #[serde(rename = "handed_out")]
    Claim(Claim),
    /// How well a manager's log could be read.
    LogRead(LogRead),
    /// User space got no answer in time.
    NotSeen(NotSeen),
    /// tracer looks into a sandbox of gVisor. A later event about the same sandbox replaces an earlier one.
    Sandbox(Sandbox),
}

/// Why an end of an object is reported.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// A survey found it open.
    #[default]
    Open,
    /// A target has just created it: a pipe, a pair of sockets.
    Created,
    /// A read end has just been closed.
    Closed,
    /// A process ends with this read end open.
    Left,
}

/// A process and its image.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The process.
    pub process: ProcessId,
    /// Its parent.
    pub parent: ProcessId,
    /// Pid in its innermost namespace.
    pub ns_pid: u32,
    /// `ROLE_*`.
    pub role: u32,
    /// Whether it has just called `execve`; otherwise it was adopted.
    pub executed: bool,
    /// Whether it was adopted although it ran before, because tracer did not know in time that it is a target.
    pub late: bool,
    /// Its name.
    pub comm: String,
    /// Its arguments, or the beginning of them.
    pub argv: Vec<String>,
    /// Whether `argv` was cut.
    pub argv_cut: bool,
    /// Bytes that all arguments have, if `argv` was cut; 0 if that is unknown.
    pub argv_bytes: u64,
    /// What fd 0, 1 and 2 point to.
    pub stdio: [FdState; 3],
    /// Bytes that the kernel had counted as written by the process.
    pub kernel_written: Option<u64>,
    /// The low half of the id of its cgroup in the hierarchy of the target cgroups; 0 if that is not known. No recording
    /// has it.
    #[serde(skip)]
    pub cgroup: u32,
}

/// The end of a process.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// The process.
    pub process: ProcessId,
    /// As `waitpid` gives it.
    pub status: u32,
    /// Whether the status is not known: gVisor tells none of processes that end with their sandbox.
    pub is_status_unknown: bool,
    /// Its name at the end.
    pub comm: String,
    /// What fd 0, 1 and 2 point to at the end.
    pub stdio: [FdState; 3],
    /// What was written to the objects behind them and is unread, at that moment ([`Object::queue`]).
    ///
    /// [`Object::queue`]: tracer_common::event::Object::queue
    #[serde(rename = "pipes")]
    pub queues: [QueueState; 3],
    /// What can be read from them ([`Object::incoming`]).
    ///
    /// [`Object::incoming`]: tracer_common::event::Object::incoming
    pub incoming: [QueueState; 3],
    /// Sizes of the files that they lead to; 0 for anything else.
    pub sizes: [u64; 3],
    /// 1 for each of these files that has no name any more, else 0.
    pub removed: [u32; 3],
    /// Bytes written through fds that the user did not ask for.
    pub other_bytes: u64,
    /// Calls that wrote them.
    pub other_calls: u64,
    /// Further such calls, that a file system refused.
    pub other_failed: u32,
    /// The errno of the latest of them.
    pub other_errno: u32,
    /// The fd of a write that a signal had interrupted, and that was not begun again.
    pub interrupted: Option<i32>,
    /// Bytes that the kernel has counted as written by the process.
    pub kernel_written: Option<u64>,
}
