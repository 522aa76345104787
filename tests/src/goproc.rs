//! The faulty process manager of the tests, seen from outside: its words and its account.
//!
//! `goproc [OPTION VALUE]… -- COMMAND…` starts a command with two pipes, reads them into memory
//! and hands the bytes out on request, as the manager `goproc` does; a [`Behaviour`] names the
//! fault it has. The program itself is `bin/goproc`; [`crate::managed`] runs it under the tracer.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Names the FIFO that a managed command may wait at before it writes its last part.
pub const LATER_ENV: &str = "GOPROC_LATER";
/// The container that the worker's log names.
pub const CONTAINER: &str = "sandbox-7";
/// What the RPC client takes in one answer.
pub const ANSWER_LIMIT: usize = 4 << 20;

/// What a manager does with its command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Reads both streams to their ends and hands out every byte.
    Faithful,
    /// The same, and is asked a second time: a reading empties the buffer.
    Empties,
    /// Keeps nothing of a command that failed.
    DropOnFailure,
    /// Empties the buffer, then fails to answer with bytes that are no UTF-8.
    Utf8Only,
    /// Empties the buffer, then fails to answer with more than [`ANSWER_LIMIT`].
    Limit,
    /// The first answer is lost on its way; the second one is empty.
    Retry,
    /// Tells every failure as exit code 1.
    FlattenExit,
    /// Waits for the command's end, then closes both pipes without reading the rest.
    NoRead,
    /// Closes both pipes while somebody may still write.
    CloseEarly,
    /// Reads stdout to its end before it looks at stderr.
    StdoutOnly,
    /// Keeps both pipes open and never reads.
    Stall,
    /// Gives the command a non-blocking stdout, and reads after its end.
    Nonblock,
    /// Kills the command and closes both pipes without a last look.
    KillClose,
    /// Another process takes some bytes out of stdout first.
    Thief,
    /// Passes only a part of stdout on to its own stdout.
    SlowRelay,
    /// Passes stdout on as packets, and does not care which of them the socket refuses.
    PacketRelay,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Faithful,
        Self::Empties,
        Self::DropOnFailure,
        Self::Utf8Only,
        Self::Limit,
        Self::Retry,
        Self::FlattenExit,
        Self::NoRead,
        Self::CloseEarly,
        Self::StdoutOnly,
        Self::Stall,
        Self::Nonblock,
        Self::KillClose,
        Self::Thief,
        Self::SlowRelay,
        Self::PacketRelay,
    ];

    /// The command line's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Faithful => "faithful",
            Self::Empties => "empties",
            Self::DropOnFailure => "drop-on-failure",
            Self::Utf8Only => "utf8-only",
            Self::Limit => "limit",
            Self::Retry => "retry",
            Self::FlattenExit => "flatten-exit",
            Self::NoRead => "no-read",
            Self::CloseEarly => "close-early",
            Self::StdoutOnly => "stdout-only",
            Self::Stall => "stall",
            Self::Nonblock => "nonblock",
            Self::KillClose => "kill-close",
            Self::Thief => "thief",
            Self::SlowRelay => "slow-relay",
            Self::PacketRelay => "packet-relay",
        }
    }

    /// The behaviour with this word.
    pub fn from_word(word: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|behaviour| behaviour.word() == word) {
            Some(behaviour) => Ok(behaviour),
            None => bail!("no behaviour is called {word}"),
        }
    }
}

/// How the worker writes its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// zerolog's console writer, with colours unless `NO_COLOR` is set.
    Console,
    /// zerolog's JSON, one object a line.
    Json,
}

impl LogFormat {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Console, Self::Json];

    /// The command line's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Json => "json",
        }
    }

    /// The format with this word.
    pub fn from_word(word: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|format| format.word() == word) {
            Some(format) => Ok(format),
            None => bail!("no log format is called {word}"),
        }
    }
}

/// How far the manager has come; the account is written anew at each stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// The command runs.
    Started,
    /// Its first process has ended.
    Exited,
    /// Both read ends are closed.
    Closed,
    /// Everything has been handed out that ever will be.
    Done,
}

/// What the manager knows about a command: the truth of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// How far it has come.
    pub stage: Stage,
    /// The manager's pid.
    pub manager: u32,
    /// The command's pid, where `/proc` was mounted.
    pub pid: u32,
    /// The command's pid in its own pid namespace: the one in the worker's log.
    pub ns_pid: u32,
    /// Its words.
    pub argv: Vec<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The exit code that the manager tells its clients.
    pub told_code: Option<i32>,
    /// Who else read the stdout pipe.
    pub thief: Option<Thief>,
    /// The stdout pipe.
    pub stdout: Stream,
    /// The stderr pipe.
    pub stderr: Stream,
}

/// Another reader of the same pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thief {
    /// Its pid.
    pub pid: u32,
    /// What it took.
    pub bytes: u64,
}

/// One pipe, from its reading end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The pipe, as `/proc` words it.
    pub object: String,
    /// Bytes the manager read.
    pub read: u64,
    /// Bytes it handed out.
    pub handed_out: u64,
    /// Bytes that were inside when it closed its end; absent while it is open.
    pub left_inside: Option<u64>,
}

impl Account {
    /// Bytes that anybody read from stdout.
    pub fn stdout_read_by_all(&self) -> u64 {
        self.stdout.read + self.thief.map_or(0, |thief| thief.bytes)
    }
}
