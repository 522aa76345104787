//! A lifecycle event, decoded. Decoding is total: any byte string gives an event or a named error.

mod decode;
mod observations;
mod raw_text;

use tracer_common::{
    event as layout,
    id::ProcessId,
    object::{FdState, ObjectId, PipeState},
};

pub(crate) use self::decode::{Record, name};
pub use self::{
    decode::{DecodeError, decode},
    observations::{BlockedCall, BlockedThread, Claim, FileNow, LogRead, LogTally, Replies},
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
        /// Who called `fork`, `vfork` or `clone`.
        #[serde(default)]
        parent: ProcessId,
        /// Who was created.
        #[serde(default)]
        child: ProcessId,
        /// The child's pid in its innermost namespace.
        #[serde(default)]
        ns_pid: u32,
        /// The child's name.
        #[serde(default)]
        comm: String,
    },
    /// A process has an image: it called `execve`, or it was there before the hooks.
    Image(Image),
    /// The last thread of a process ended.
    Exit(Exit),
    /// An object came under watch.
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
    /// An end of an object: somebody holds it open, has created it, or has closed it.
    Holder {
        /// Who and what.
        #[serde(default)]
        holder: layout::Holder,
        /// Name of the process.
        #[serde(default)]
        comm: String,
        /// Which of the three.
        #[serde(default)]
        sighting: Sighting,
    },
    /// User space saw the environment of a process: the variables that change what programs print.
    Environment {
        /// Whose.
        #[serde(default)]
        process: ProcessId,
        /// Name and value, only those that are set.
        #[serde(default)]
        variables: Vec<(String, String)>,
    },
    /// User space saw what became of a file.
    File {
        /// Which.
        #[serde(default)]
        object: ObjectId,
        /// Whether its path still leads to it.
        #[serde(default)]
        now: FileNow,
        /// Its size in bytes, where it does.
        #[serde(default)]
        size: u64,
    },
    /// User space read a container engine's log file.
    Log {
        /// The file.
        #[serde(default)]
        object: ObjectId,
        /// The sums.
        #[serde(default)]
        tally: LogTally,
    },
    /// User space saw a thread asleep in a call when the trace ended.
    #[serde(rename = "asleep")]
    BlockedThread(BlockedThread),
    /// A manager's log says what it handed out.
    #[serde(rename = "handed_out")]
    Claim(Claim),
    /// How well a manager's log could be read.
    LogRead(LogRead),
}

/// What is told of an end of an object.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// A survey found it open.
    #[default]
    Open,
    /// A target created it just now: a pipe, a pair of sockets.
    Created,
    /// It was closed just now, and it could be read.
    Closed,
}

/// A process and its image.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Who.
    pub process: ProcessId,
    /// Its parent.
    pub parent: ProcessId,
    /// Pid in its innermost namespace.
    pub ns_pid: u32,
    /// `ROLE_*`.
    pub role: u32,
    /// Whether it called `execve` just now; otherwise it was adopted.
    pub executed: bool,
    /// Its name.
    pub comm: String,
    /// Its arguments, as far as the kernel side read them.
    pub argv: Vec<String>,
    /// Whether `argv` was cut.
    pub argv_cut: bool,
    /// What fd 0, 1 and 2 point to.
    pub stdio: [FdState; 3],
}

/// The end of a process.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// Who.
    pub process: ProcessId,
    /// As `waitpid` gives it.
    pub status: u32,
    /// Its name at the end.
    pub comm: String,
    /// What fd 0, 1 and 2 point to at the end.
    pub stdio: [FdState; 3],
    /// The pipes behind them at that moment.
    pub pipes: [PipeState; 3],
    /// Sizes of the files behind them, 0 for anything else.
    pub sizes: [u64; 3],
    /// Bytes written through fds that were not of interest.
    pub other_bytes: u64,
    /// Calls that wrote them.
    pub other_calls: u64,
}
