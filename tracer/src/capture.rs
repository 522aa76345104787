//! The output itself: taken out of its ring and saved in a folder.
//!
//! Data flows one way: ring → queue → books → [`folder`] and its index; [`writer`] runs it. When the trace is over,
//! [`tracer_core::capture::recovery`] finds in the index what was lost. Counting does not depend on any of it: whatever
//! happens to the bytes, the ledger stays exact, and what is missing is a gap of known length.

mod accounts;
mod files;
pub mod folder;
mod log;
mod names;
mod queue;
#[cfg(test)]
mod sample;
pub mod writer;

use tracer_core::capture::Keep;

/// What is kept of each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes; `None` for all.
    pub limit: Option<u64>,
    /// Which ones.
    pub keep: Keep,
}
