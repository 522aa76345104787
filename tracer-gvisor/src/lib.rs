//! What happens inside gVisor sandboxes, as events and ledger rows of a tracer session.
//!
//! A guest of gVisor makes no system calls on this machine's kernel. gVisor's own kernel, the *sentry*, can tell what its
//! guests do: `runsc trace` has a sandbox send chosen events (*points*) to a unix socket. This crate names the points
//! ([`points`]), serves that socket ([`sink`]), and turns the messages into the same events and rows that the eBPF
//! programs give ([`Guest`]). The session model, the rules and reports work on them unchanged.
//!
//! # Invariants
//!
//! 25. Messages come from a sandbox and may be hostile: any bytes are decoded, or counted as unreadable
//!     ([`Guest::losses`]).
//! 26. All tables have a bound. A message, process, object, container, call or row that finds no room is counted
//!     ([`Guest::losses`], [`sink::Sink::lost`]).

#![forbid(unsafe_code)]

mod fds;
mod guest;
mod numbers;
mod objects;
pub mod points;
mod procfs;
mod row;
pub mod sink;
mod wire;

pub use self::{
    guest::{Guest, Identity, Output},
    objects::handed_in,
    procfs::{Running, running},
    wire::container_of,
};
