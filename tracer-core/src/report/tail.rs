//! The part of the report about lost output of which a recorder has kept the end.

use serde::{Deserialize, Serialize};

/// The end of a stream whose output was lost (`tracer daemon --keep-tail`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Tail {
    /// Fd number of the stream.
    pub fd: i32,
    /// The object that it was written to, as in [`super::Object::id`].
    pub object: String,
    /// Bytes that the command wrote to it.
    pub written: u64,
    /// How many bytes at its end were lost; `None` if that is not known, and the tail is that of the whole stream.
    pub lost: Option<u64>,
    /// How many of these bytes are in `text`; it has more or fewer where something was redacted or is missing.
    pub kept: u64,
    /// How many bytes are missing among them; `text` says where and why.
    pub missing: u64,
    /// Why the beginning was not kept; `None` if nothing is missing there.
    pub not_kept: Option<NotKept>,
    /// The bytes, redacted, as text.
    pub text: String,
}

/// Why no more was kept of a tail.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// It was longer than what is kept of each stream.
    Limit,
    /// The tails of all streams together had reached their limit.
    NoRoom,
    /// No record of the bytes arrived.
    #[serde(other)]
    NotCaptured,
}

impl NotKept {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Limit, Self::NoRoom, Self::NotCaptured];

    /// The reason in words, as the end of a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Limit => "no more is kept of each stream (--keep-tail)",
            Self::NoRoom => "the tails of all streams had reached their limit (--max-memory)",
            Self::NotCaptured => "the bytes were not captured",
        }
    }
}
