//! Interface of the tests' faulty process manager: its options and its account file.
//!
//! `goproc [OPTION VALUE]… -- COMMAND…` starts a command with two pipes, buffers what it reads, and
//! answers requests for these bytes, like the real manager `goproc`. A [`Behaviour`] selects the
//! fault. `bin/goproc` is the program; [`crate::managed`] runs it under tracer.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Environment variable with the path of a FIFO; a managed command can wait there in the middle.
pub const LATER_ENV: &str = "GOPROC_LATER";
/// The container name in the worker's log.
pub const CONTAINER: &str = "sandbox-7";
/// Size limit of an RPC answer, in bytes.
pub const ANSWER_LIMIT: usize = 4 << 20;

/// A command that writes 5,000 bytes to stdout.
pub const FIVE_THOUSAND: [&str; 4] = ["head", "-c", "5000", "/dev/zero"];

/// How a manager treats its command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Behaviour {
    /// Reads both streams to the end and delivers every byte.
    Faithful,
    /// Like `Faithful`, with a second request: the first one empties the buffer.
    Empties,
    /// Discards the output of a command that failed.
    DropOnFailure,
    /// Empties the buffer, then fails to deliver bytes that are not UTF-8.
    Utf8Only,
    /// Empties the buffer, then fails to deliver more than [`ANSWER_LIMIT`] bytes.
    Limit,
    /// The first answer is lost; the second one is empty.
    Retry,
    /// Reports every failure as exit code 1.
    FlattenExit,
    /// Waits until the command ends, then closes both pipes without reading the rest.
    NoRead,
    /// Closes both pipes while processes can still write.
    CloseEarly,
    /// Reads stdout to the end before it reads stderr.
    StdoutOnly,
    /// Never reads and keeps both pipes open.
    Stall,
    /// Makes the command's stdout non-blocking and reads after the command has ended.
    Nonblock,
    /// Kills the command and closes both pipes without reading the rest.
    KillClose,
    /// Another process reads some bytes of stdout first.
    OtherReader,
    /// Forwards only a part of stdout to its own stdout.
    SlowRelay,
    /// Forwards stdout as packets and ignores those that the socket refuses.
    PacketRelay,
}

/// Format of the worker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// zerolog's console writer, with colours unless `NO_COLOR` is set.
    Console,
    /// zerolog's JSON, one object per line.
    Json,
}

impl LogFormat {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::Console, Self::Json];
}

/// The name of a [`Behaviour`] or [`LogFormat`] on the command line.
pub fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Progress of the manager. It rewrites its account at each stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// The command is running.
    Started,
    /// The command's first process has ended.
    Exited,
    /// Both read ends are closed.
    Closed,
    /// The manager has answered all requests.
    Done,
}

/// The manager's own record of a command, which the tests compare with tracer's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The stage at which it was written.
    pub stage: Stage,
    /// The manager's pid.
    pub manager: u32,
    /// The command's pid in the namespace of the `/proc` mount.
    pub pid: u32,
    /// The command's pid in its own namespace, as in the worker's log.
    pub ns_pid: u32,
    /// The command line.
    pub argv: Vec<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The exit code that the manager reports to clients.
    pub reported_code: Option<i32>,
    /// The other reader of the stdout pipe, if any.
    pub other_reader: Option<OtherReader>,
    /// The stdout pipe.
    pub stdout: Stream,
    /// The stderr pipe.
    pub stderr: Stream,
}

/// Another process that reads from the command's stdout pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherReader {
    /// Its pid.
    pub pid: u32,
    /// Bytes that it read.
    pub bytes: u64,
}

/// Counts of one pipe, at its read end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Name of the pipe in `/proc`, like `pipe:[88123]`.
    pub object: String,
    /// Bytes that the manager read.
    pub read: u64,
    /// Bytes that reached a client.
    pub delivered: u64,
    /// Unread bytes in the pipe when the manager closed it; `None` while it is open.
    pub unread: Option<u64>,
}

impl Account {
    /// Bytes that all readers together read from stdout.
    pub fn total_stdout_read(&self) -> u64 {
        self.stdout.read + self.other_reader.map_or(0, |other_reader| other_reader.bytes)
    }
}
