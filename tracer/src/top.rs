//! `tracer top`: a view of a trace or a recording in a terminal.
//!
//! ```text
//! a source (running trace, recording, …) ──▶ Snapshot ──▶ state ──▶ frame ──▶ terminal
//!                              ◀── Order ──────────────── key
//! ```
//!
//! The view takes [`Snapshot`](tracer_core::snapshot::Snapshot)s from a [`link`](mod@link), and does not know where they come from.
//! [`state`] turns a key into a new state, and [`frame`] a state into cells; both are pure. [`screen`] owns the terminal.
//! A source never waits for the view: it replaces a snapshot that was not drawn yet.

mod frame;
mod keys;
mod link;
mod run;
mod screen;
mod state;
#[cfg(test)]
mod tests;

/// The kind of target of a recorder's snapshots: they have the last hour's losses.
pub const RECORDER: &str = "recorder";

pub use self::{
    keys::help,
    link::{Order, Playback, Source, View, link},
    run::run,
    screen::{Screen, print, restore},
};
