//! What each syscall means for the ledger.
//!
//! Nearly every call goes the short way ([`plain`]). The others are noted in per-CPU memory, and go
//! through functions that the verifier checks apart from each other and from their caller: it follows
//! each of them once, and not once for every way that leads there. They therefore take numbers only.

pub(crate) mod fast_path;
pub(crate) mod io;
pub(crate) mod io_side;
pub(crate) mod table;

use core::ptr::NonNull;

use tracer_common::{id::ProcessId, process::ProcessEntry};

use self::io_side::IoSide;
use crate::{
    kread::Kptr,
    maps::SYSCALL_CONTEXT,
    regs,
    task::{self, FilesTable},
};

/// A returned syscall that goes the long way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SyscallContext {
    /// Class out of [`table`].
    pub(crate) class: u32,
    /// 1: by the 32-bit entry.
    pub(crate) compat: u32,
    /// Its result: a count, an fd, or a negative errno.
    pub(crate) result: i64,
    /// Its arguments.
    pub(crate) args: [u64; 6],
    /// What it did to one fd, where it moves bytes.
    pub(crate) side: IoSide,
}

impl SyscallContext {
    /// Notes a call; `false` never happens.
    #[inline(always)]
    pub(crate) fn note(regs: Kptr, is_compat: bool, class: u32, result: i64) -> bool {
        let Some(this) = Self::noted() else { return false };
        (this.class, this.compat, this.result) = (class, u32::from(is_compat), result);
        regs::copy(regs, is_compat, &mut this.args);
        true
    }

    /// The call that was noted last on this CPU.
    #[inline(always)]
    pub(crate) fn noted() -> Option<&'static mut Self> {
        let returned: *mut Self = SYSCALL_CONTEXT.get_ptr_mut(0)?;
        // SAFETY: the map returned a valid, aligned pointer to this CPU's slot, which belongs to one
        // program; every member is made of integers.
        Some(unsafe { &mut *returned })
    }
}

/// The arguments of a call.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    values: &'static [u64; 6],
    /// By the 32-bit entry.
    pub(crate) compat: bool,
}

impl Args {
    /// Argument `N`, zero-extended from 32 bits for a 32-bit caller.
    #[inline(always)]
    pub(crate) fn get<const N: usize>(self) -> u64 {
        self.values[N]
    }

    /// Argument `N` as an fd number.
    #[inline(always)]
    pub(crate) fn fd<const N: usize>(self) -> i32 {
        self.get::<N>() as u32 as i32
    }
}

/// A noted call, and who made it.
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
    /// The call that was noted, with what is known of its caller.
    #[inline(always)]
    pub(crate) fn noted() -> Option<Self> {
        let returned = SyscallContext::noted()?;
        let (entry, process, role) = io::caller(task::current_tgid());
        let args = Args { values: &returned.args, compat: returned.compat == 1 };
        let (class, result, files) = (returned.class, returned.result, task::current_open_files());
        Some(Self { class, args, result, files, entry, process, role })
    }
}
