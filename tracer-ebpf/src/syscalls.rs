//! What each syscall means for the ledger.

pub(crate) mod io;
pub(crate) mod table;

use core::ptr::NonNull;

use tracer_common::{id::ProcessId, process::ProcessEntry};

use crate::{regs::Args, task::FilesTable};

/// A returned syscall, and who made it.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Class out of [`table`].
    pub(crate) class: u32,
    /// Its arguments.
    pub(crate) args: Args,
    /// Its result: a count, an fd, or a negative errno.
    pub(crate) result: i64,
    /// The open files of the caller.
    pub(crate) files: FilesTable,
    /// The caller's table entry; `None` for a stranger.
    pub(crate) entry: Option<NonNull<ProcessEntry>>,
    /// The caller; only its tgid is set for a stranger.
    pub(crate) process: ProcessId,
    /// `ROLE_*`, 0 for a stranger.
    pub(crate) role: u32,
}
