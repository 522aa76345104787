//! What user space can see that no hook tells: threads asleep, files at the end, environments, logs.
//!
//! Everything here reads `/proc` or a file and gives [`crate::event::Outside`] events; whatever has
//! vanished meanwhile gives none.

mod asleep;
mod environment;
mod files;

pub use self::{asleep::threads_asleep, environment::environment, files::files_now};
