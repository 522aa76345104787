//! Says where a program's output went: counted in the kernel, both ends, with a verdict.
//!
//! Data flows one way: kernel → [`loader`] → [`event`] → session → verdict → render. Only `loader`
//! knows aya, only `cli` knows clap, only renderers print.

pub mod btf;
pub mod loader;
