//! The library of tracer's tasks and of its benchmark: paths, tools that must be installed, builds, docker.

#![forbid(unsafe_code)]

pub mod build;
pub mod cargo;
pub mod command;
pub mod docker;
pub mod page;
pub mod setup;
pub mod vm;
pub mod workspace;
