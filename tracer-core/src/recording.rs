//! A session on disk: everything that a verdict needs, saved while the trace runs, and read again.
//!
//! The file is the stream of what went into [`Session`](crate::session::Session), one JSON object on
//! each line: `tracer.session/1`, described line by line in `SCHEMA.md`. Replaying is doing the same
//! to a fresh session, so a report made later equals the one made live. This module knows no path and
//! prints nothing: it writes to a writer and reads from a reader.

mod budget;
mod fast_scan;
mod limits;
mod line;
mod parallel;
mod parse;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::{
    budget::LeftOut,
    line::{Checkpoint, Header, Loss, Row, TYPES},
    read::{LINE_LIMIT, ReadError, Recording, read},
    write::Recorder,
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.session/1";
