//! What each syscall means for the ledger.

pub(crate) mod io;
pub(crate) mod plain;
pub(crate) mod table;

use core::ptr::NonNull;

use tracer_common::{id::ProcessId, process::ProcessEntry};

use crate::{regs::Args, task::FilesTable};

/// A returned syscall.
#[derive(Clone, Copy)]
pub(crate) struct Returned {
    /// Class out of [`table`].
    pub(crate) class: u32,
    /// Its arguments.
    pub(crate) args: Args,
    /// Its result: a count, an fd, or a negative errno.
    pub(crate) result: i64,
    /// The open files of the caller.
    pub(crate) files: FilesTable,
    /// The caller's process.
    pub(crate) tgid: u32,
}

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

impl Call {
    /// The call with what is known of its caller.
    #[inline(always)]
    pub(crate) fn of(returned: &Returned) -> Self {
        let (entry, process, role) = io::caller(returned.tgid);
        let Returned { class, args, result, files, .. } = *returned;
        Self { class, args, result, files, entry, process, role }
    }
}
