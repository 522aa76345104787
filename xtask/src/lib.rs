//! What tracer's tasks and its benchmark have in common: where things are, how programs are
//! found, built and started, and which parts of a page a run writes.

#![forbid(unsafe_code)]

pub mod build;
pub mod cache;
pub mod cargo;
pub mod cargo_tool;
pub mod command;
pub mod docker;
pub mod environment;
mod fingerprint;
mod image;
pub mod packages;
pub mod page;
mod service;
pub mod setup;
mod stamp;
pub mod toolchain;
pub mod workspace;
