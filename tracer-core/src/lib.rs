//! From recorded events to a verdict and a report.
//!
//! Data flows one way: [`event`] → [`session`] → [`verdict`] → [`report`]. [`recording`] saves what goes into a
//! session and reads it again.
//!
//! # Invariants
//!
//! 7. This crate opens no file, reads no clock and prints nothing, and it does not panic on any order of events.
//! 8. Whatever is read from a file or a pipe is checked against a limit before it is kept: lines, texts, sums, and the
//!    memory of all of it.
//! 9. Any loss makes the findings that rest on counts unsure.

#![forbid(unsafe_code)]

pub mod capture;
pub mod event;
pub mod parallel;
pub mod recording;
pub mod report;
pub mod session;
pub mod text;
pub mod verdict;
pub mod worker_log;
