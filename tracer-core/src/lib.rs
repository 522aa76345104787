//! From recorded events to a verdict and a report.
//!
//! Data flows one way: [`event`] → [`session`] → [`verdict`] → [`report`]. [`recording`] saves what goes into a
//! session and reads it again. This crate opens no file, reads no clock and prints nothing.

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
