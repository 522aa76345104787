//! tracer's core: from recorded events to a verdict and a report.
//!
//! Its input is what the loader and the observers of the program deliver: raw records, ledger rows, losses and
//! observations. Its output is a [`report::Report`], which the program renders.
//!
//! # Data flow
//!
//! Data flows one way:
//!
//! ```text
//! event ──▶ session ──▶ verdict ──▶ report ──▶ snapshot
//!   ▲          ▲                      ▲
//!   │          └───── recording ──────┤
//!   │                 capture ────────┘
//!   └── worker_log
//! ```
//!
//! * [`event`] decodes a record: any byte string gives an event or an error.
//! * [`worker_log`] turns managers' logs into events.
//! * [`session`] applies events and rows in any order, and is the model of a run.
//! * [`recording`] writes the input of a session as lines, reads the lines, and applies them again.
//! * [`verdict`] applies rules to a session. Each finding has one message and the numbers that it rests on.
//! * [`capture`] has the records of the capture ring, the index of a capture folder, and the recovery of lost bytes.
//! * [`report`] is the public schema. It is built from a session or a recording, and its findings.
//! * [`snapshot`] is a smaller report of a moment, for a view that is drawn again and again.
//!
//! A module uses only modules above it in this list. All may use [`text`] and [`parallel`], which use none of them.
//!
//! # Example
//!
//! A recording is read from bytes. `examples/findings.rs` does the same for a file.
//!
//! ```
//! use tracer_core::{recording, verdict::Rule};
//!
//! let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions/unread.session"));
//! let recording = recording::read(file.as_slice(), 64 << 20)?;
//! let (report, _) = recording.report();
//! assert_eq!(report.findings[0].rule, Rule::Unread);
//! assert_eq!(report.verdict, report.findings[0].message);
//! # Ok::<(), recording::ReadError>(())
//! ```
//!
//! # Invariants
//!
//! 7. This crate opens no file, reads no clock and prints nothing, and it does not panic on any order of events.
//! 8. Whatever is read from a file or a pipe is checked against a limit before it is kept: lines, texts, sums, and the
//!    memory of all of it.
//! 9. Any loss makes the findings that rest on counts unsure.
//!
//! # What it does not do
//!
//! It knows no kernel interface, no command line and no file system: it has neither aya, tokio, clap, libc nor rustix.
//! It does not read the captured bytes themselves (the caller passes a function), and it lays out no page: the
//! program renders reports.

#![forbid(unsafe_code)]

pub mod capture;
pub mod event;
pub mod parallel;
pub mod recording;
pub mod report;
pub mod session;
pub mod snapshot;
pub mod text;
pub mod verdict;
pub mod worker_log;
