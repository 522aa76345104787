//! What user space can see that no hook tells: threads asleep, files at the end, environments, logs.
//!
//! Everything here reads `/proc` or a file and gives [`tracer_core::event::EventKind`]s; whatever has
//! vanished meanwhile gives none.

mod blocked;
mod engine_logs;
mod environment;
mod files;
mod identity;
mod worker_logs;

pub use self::{
    blocked::blocked_threads, engine_logs::engine_logs, environment::environment, files::files_now,
    worker_logs::WorkerLogs,
};
