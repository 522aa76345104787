//! Captures the output itself: takes it out of its ring and saves it in a folder.
//!
//! Data flows one way: ring → queue → accounts → [`folder`] and its index. [`writer`] runs it. When the trace is
//! over, [`tracer_core::capture::recovery`] finds out from the index what was lost. Counting does not depend on any
//! of this: the ledger stays exact, and missing bytes are a gap of known length.

mod accounts;
mod budget;
mod files;
pub mod folder;
mod log;
mod names;
pub mod process;
mod queue;
#[cfg(test)]
mod sample;
pub mod stored;
pub mod tails;
pub mod writer;

use serde::{Deserialize, Serialize};
use tracer_core::capture::Keep;

/// What to keep of each stream, and of all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How many bytes; `None` for all.
    pub limit: Option<u64>,
    /// Which bytes, if the stream has more.
    pub keep: Keep,
    /// How many bytes of all streams together; `None` for any number.
    pub max: Option<u64>,
    /// How many bytes must stay free on the disk; `None` for a part that depends on its size.
    pub reserve: Option<u64>,
}
