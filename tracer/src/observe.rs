//! What user space observes and no hook reports: blocked threads, files at the end, environments, logs.
//!
//! Everything here reads `/proc` or a file, and returns [`tracer_core::event::EventKind`]s. What has vanished returns
//! none.

mod arguments;
mod blocked;
mod engine_logs;
mod environment;
mod files;
mod identity;
mod worker_logs;

pub use self::{
    arguments::arguments, blocked::blocked_threads, engine_logs::engine_logs,
    environment::environment, files::files_now, worker_logs::WorkerLogs,
};
