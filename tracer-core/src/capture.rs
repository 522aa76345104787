//! A capture as data: its records, its index, and what can be recovered from them.
//!
//! [`chunk`] decodes a record of the capture ring, [`account`] decides which of its bytes are kept, [`index`] is the
//! file that maps each write to its bytes, [`summary`] adds up its lines, and [`recovery`] finds output in it that
//! did not arrive. [`tails`] keeps the last bytes of many streams in memory.

pub mod account;
pub mod chunk;
pub mod index;
pub mod recovery;
pub mod summary;
pub mod tails;

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
    /// The kernel copied them from fd to fd.
    Copied,
    /// The writer's memory could not be read.
    Unreadable,
    /// An io_uring request whose memory was not known.
    IoUring,
    /// One call wrote more than [`tracer_common::capture::CALL`] bytes.
    TooLarge,
    /// The ring had no room: the writers were faster than tracer.
    RingFull,
    /// The limit of the stream was reached.
    Limit,
    /// The limit of the whole capture was reached.
    Total,
    /// The disk has no more free space than must stay free.
    Reserve,
    /// Disk or terminal was slower than the writers.
    SlowOutput,
    /// The file could not be written.
    DiskError,
    /// The ledger has more bytes than the records.
    #[default]
    Unexplained,
}

impl Reason {
    /// The reason in words, as the end of a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Copied => "copied inside the kernel",
            Self::Unreadable => "the program's memory could not be read",
            Self::IoUring => "written by io_uring out of memory that is not known",
            Self::TooLarge => "one call wrote more than 32 MiB",
            Self::RingFull => "the ring was full",
            Self::Limit => "the limit was reached",
            Self::Total => "the whole capture was full (--capture-max raises its limit)",
            Self::Reserve => {
                "the disk is to keep free space (free some, or lower --capture-reserve)"
            }
            Self::SlowOutput => "disk or terminal were too slow",
            Self::DiskError => "the file could not be written",
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

#[cfg(test)]
mod tests {
    use tracer_common::capture::CALL;

    use super::Reason;
    use crate::text::units::whole_mib;

    #[test]
    fn the_words_name_the_limit_of_one_call() {
        let limit = format!("more than {}", whole_mib(CALL));
        assert!(Reason::TooLarge.words().ends_with(&limit));
    }
}
