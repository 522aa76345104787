//! What user space observes and no hook reports: arguments, environments, blocked threads, files at the end, logs.
//!
//! Everything here reads `/proc` or a file of others, which can block for as long as another program likes. So helper
//! processes do it ([`Lookout`], [`LogReader`]), and answer with [`tracer_core::event::EventKind`]s. What has vanished
//! gives none; what does not answer in time is counted as not seen.

mod arguments;
mod blocked;
mod engine_logs;
mod environment;
mod files;
mod identity;
mod log_reader;
mod look;
mod lookout;
mod worker_logs;
mod writers;

pub(crate) use self::identity::inode_of_fd;
pub use self::{
    blocked::{ask_for_blocked_threads, with_object},
    engine_logs::ask_for_engine_logs,
    files::ask_for_files,
    log_reader::LogReader,
    look::Request,
    lookout::Lookout,
};
