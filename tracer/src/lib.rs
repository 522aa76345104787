//! The program: turns the command line into a trace, and prints its report.
//!
//! Data flows one way: kernel → `tracer-loader` → `tracer-core` → [`render`].
//!
//! # Invariants
//!
//! 10. Only [`cli`] describes the command line. `main` parses it and prints its help; nothing else uses clap. Only
//!     `main` and [`app`] print on standard output and standard error; reports, lists and live lines are text of
//!     [`render`]. [`top`] draws on the terminal. `launch::relay` passes on what a command writes to its own terminal.
//! 11. tracer never opens, reads or holds an object that it watches. With `--capture` and `--show` the kernel side reads
//!     the writers' memory, which is where the bytes come from.
//! 12. [`observe`] only reads, and only in helper processes: what it reads can block. A process or file that has gone
//!     gives no event, and never an error.
//! 13. A thread of the main process is started by `sys::privileges::spawn`, or is scoped, or starts after the hooks are
//!     attached, or gives up its capabilities by itself (`tracer_gvisor::sink`).
//! 14. Only `sys::private_file` and `capture::folder` open a file of the user for writing.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read what they wrote"))]

pub mod app;
pub mod capture;
pub mod cli;
pub mod docker;
pub mod doctor;
pub mod gvisor;
pub mod launch;
pub mod observe;
pub mod render;
pub mod scope;
pub mod settings;
pub mod sys;
pub mod target;
pub mod top;
