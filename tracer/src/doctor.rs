//! What this machine offers and lacks for a trace.

pub mod environment;
