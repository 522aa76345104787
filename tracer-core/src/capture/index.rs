//! The index of a capture folder: where the bytes of each write are. One JSON object on each line.

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

/// The folder's schema and options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`super::SCHEMA`].
    pub schema: String,
    /// Version of the tracer that captured.
    pub tracer: String,
    /// Bytes kept of each stream; `None` for all.
    pub limit: Option<u64>,
    /// Which bytes are kept if there are more.
    pub keep: Keep,
}

impl Head {
    /// The first line, as this version of tracer writes it.
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
    /// The writer: `PID@START`, start in nanoseconds since boot.
    pub process: ProcessId,
    /// Its name at the first write.
    pub comm: String,
    /// Its fd; -1 for a file registered with io_uring.
    pub fd: i32,
    /// The object: `DEV:INODE`.
    pub object: ObjectId,
    /// Name of its file within the folder.
    pub file: String,
}

/// Bytes of one write, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The stream's number.
    pub stream: u32,
    /// Offset of the bytes in its file, before any cut from the front of the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// When the write returned, nanoseconds since boot.
    pub time_ns: u64,
    /// The thread that wrote.
    pub tid: u32,
    /// The system call, or io_uring.
    pub syscall: String,
}

/// Written bytes that are not in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The stream's number.
    pub stream: u32,
    /// Offset at which they would be in the file, as in [`Written::offset`]; the file continues with the bytes after
    /// them.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// When the gap was noticed, nanoseconds since boot.
    pub time_ns: u64,
    /// The reason.
    pub reason: Reason,
    /// Where the bytes came from, for a copy within the kernel: a path, or the identity of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The account of a stream: `written = kept + cut + missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The stream's number.
    pub stream: u32,
    /// Bytes in the ledger.
    pub written: u64,
    /// Bytes in its file.
    pub kept: u64,
    /// Bytes that were cut from the front of its file; subtract them from offsets.
    pub cut: u64,
    /// Bytes in its gaps.
    pub missing: u64,
}
