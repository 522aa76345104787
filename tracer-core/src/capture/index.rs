//! The index of a capture folder: which write put which bytes where, one JSON object on each line.

use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, object::ObjectId};

use super::{Keep, Reason, SCHEMA};

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::{
    read::{LINE_LIMIT, ReadError, Reader},
    write::Writer,
};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Capture(Head),
    /// A stream begins.
    Stream(Declared),
    /// Bytes were appended to a stream's file.
    Write(Written),
    /// Bytes of a stream are missing here.
    Gap(Missing),
    /// The last line of a stream.
    End(Total),
}

/// What this folder is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`super::SCHEMA`].
    pub schema: String,
    /// Version of the tracer that captured.
    pub tracer: String,
    /// Bytes kept of each stream; `None` for all.
    pub limit: Option<u64>,
    /// Which ones, when there are more.
    pub keep: Keep,
}

impl Head {
    /// The first line of this version of tracer.
    #[must_use]
    pub fn new(limit: Option<u64>, keep: Keep) -> Self {
        let tracer = env!("CARGO_PKG_VERSION").to_owned();
        Self { schema: SCHEMA.to_owned(), tracer, limit, keep }
    }
}

/// A stream: what one process wrote through one fd to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its number in this index, from 1.
    pub stream: u32,
    /// Who wrote: `PID@START`, start in nanoseconds since boot.
    pub process: ProcessId,
    /// Its name at the first write.
    pub comm: String,
    /// Through which fd; -1 for a file registered with io_uring.
    pub fd: i32,
    /// To what: `DEV:INODE`.
    pub object: ObjectId,
    /// Name of its file within the folder.
    pub file: String,
}

/// Bytes of one write, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The stream's number.
    pub stream: u32,
    /// Where the bytes are in its file, before anything was cut from the file's front.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// When the write returned, nanoseconds since boot.
    pub time_ns: u64,
    /// The thread that wrote.
    pub tid: u32,
    /// How.
    pub syscall: String,
}

/// Bytes that were written and are not in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The stream's number.
    pub stream: u32,
    /// Where they would be in its file, as in [`Written::offset`]; the file goes on with what came after.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// When that was noticed, nanoseconds since boot.
    pub time_ns: u64,
    /// Why.
    pub reason: Reason,
    /// Where the bytes came from, for a copy within the kernel: a path, or what could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The books of a stream: `written = kept + cut + missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The stream's number.
    pub stream: u32,
    /// Bytes that the kernel counted.
    pub written: u64,
    /// Bytes in its file.
    pub kept: u64,
    /// Bytes that were cut from the front of its file: offsets are that much too large for it.
    pub cut: u64,
    /// Bytes in its gaps, all reasons together.
    pub missing: u64,
}
