//! The history of an always-on tracer: what the output of each command came to, for days.
//!
//! A [`Writer`] takes [`Entry`]s and [`Gap`]s without ever making its caller wait, and a [`Reader`] answers questions,
//! also while the writer writes, after it was killed, and on a copy of the folder on another machine.
//!
//! # On disk
//!
//! The folder holds one SQLite file for each day (UTC), or several if a day fills one: `2026-11-28.0.db`,
//! `2026-11-28.1.db`. An entry is in a file of the day on which it ended. `SCHEMA.md` describes the tables
//! (`tracer.history/1`). Only whole files are removed.
//!
//! # Invariants
//!
//! 21. No call of a [`Writer`] waits for the disk, except [`Writer::close`] and [`Writer::start`].
//! 22. What could not be kept is counted, and becomes a [`Gap`] with its time span as soon as writing works.
//! 23. No content of the folder prevents a start: a damaged file is set aside, and becomes a gap.
//! 24. A [`Reader`] creates and changes no file, and reads what is readable of a damaged one.

#![forbid(unsafe_code)]

mod entry;
mod error;
mod folder;
mod latest;
mod moment;
mod names;
mod reader;
#[cfg(test)]
mod sample;
mod store;
mod time;
mod words;
mod writer;

pub use self::{
    entry::{Coverage, Entry, Fate, Finding, Gap, Place, Stream, Tail, reason},
    error::HistoryError,
    latest::Latest,
    moment::{Moment, moment},
    reader::{Answer, Filter, Question, Reader, Subject},
    words::{confidence, outcome, rule, severity},
    writer::{Limits, Stand, Writer},
};

/// The folder of the history, unless `--history` names another one.
pub const FOLDER: &str = "/var/lib/tracer";
