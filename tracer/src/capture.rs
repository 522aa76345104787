//! The output itself: taken out of its ring, saved in a folder, given back where it was lost.
//!
//! Data flows one way: ring → queue → [`chunk`] → [`stream`] → [`folder`] and [`index`]; [`writer`] runs
//! it. When the trace is over, [`recover`] finds in the index what was lost. Counting does not depend on any of it: whatever happens to the bytes, the
//! ledger stays exact, and what is missing is a gap of known length.

mod books;
pub mod chunk;
mod files;
pub mod folder;
pub mod index;
mod log;
mod names;
mod queue;
pub mod recover;
#[cfg(test)]
mod sample;
pub mod stream;
pub mod summary;
pub mod writer;

use serde::{Deserialize, Serialize};

/// The schema of a capture folder's index.
pub const SCHEMA: &str = "tracer.capture/1";
/// Name of the index within the folder.
pub const INDEX: &str = "index";
/// Name of the recording within the folder ([`crate::recording`]).
pub const SESSION: &str = "session";

/// Why bytes that were written are not in the capture.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// They went from fd to fd inside the kernel.
    Copied,
    /// The writer's memory could not be read.
    Unreadable,
    /// An io_uring request whose memory was not known.
    IoUring,
    /// One call wrote more than [`tracer_common::capture::CALL`] bytes.
    TooLarge,
    /// The ring had no room: the writers were faster than tracer.
    RingFull,
    /// The stream's limit was reached.
    Limit,
    /// Disk or terminal were slower than the writers.
    SlowOutput,
    /// The file could not be written.
    DiskError,
    /// tracer wrote them itself, to an object that it shares with the target.
    OwnOutput,
    /// The ledger has bytes that no record told of.
    #[default]
    Unexplained,
}

impl Reason {
    /// The reason as the end of a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Copied => "copied inside the kernel",
            Self::Unreadable => "the program's memory could not be read",
            Self::IoUring => "written by io_uring out of memory that is not known",
            Self::TooLarge => "one call wrote more than 32 MiB",
            Self::RingFull => "the ring was full",
            Self::Limit => "the limit was reached",
            Self::SlowOutput => "disk or terminal were too slow",
            Self::DiskError => "the file could not be written",
            Self::OwnOutput => "written by tracer itself",
            Self::Unexplained => "counted, and no record has them",
        }
    }
}

/// Which part of a stream is kept when it is longer than its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first bytes.
    #[default]
    First,
    /// The last bytes.
    Last,
}
