//! The program: what the user asked for becomes a trace, and its report is printed.
//!
//! Data flows one way: kernel → `tracer-loader` → `tracer-core` → [`render`]. Only [`cli`] knows clap, only
//! [`render`] (and `app`'s output) prints.

#![deny(unsafe_code)]

pub mod app;
pub mod capture;
pub mod cli;
pub mod doctor;
pub mod launch;
pub mod observe;
pub mod render;
pub mod settings;
pub mod sys;
pub mod target;
