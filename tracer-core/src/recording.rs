//! Recordings: a session as a file, written while the trace runs, and read again.
//!
//! The file is the input of a [`Session`](crate::session::Session), one JSON object on each line: `tracer.session/1`,
//! described line by line in `SCHEMA.md`. Replay applies the same input to an empty session, so a later report equals
//! the live one. This module writes to a writer and reads from a reader; it opens no file.

mod budget;
mod fast_scan;
mod limits;
mod line;
mod parallel;
mod parse;
mod player;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::{
    budget::LeftOut,
    line::{Checkpoint, Header, Loss, Row, TYPES},
    player::Player,
    read::{LINE_LIMIT, ReadError, Recording, read},
    write::Recorder,
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.session/1";
