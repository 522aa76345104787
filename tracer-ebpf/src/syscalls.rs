//! Decodes syscalls for the ledger.
//!
//! Nearly every call takes the fast path ([`fast_path`]). The slow path stores the call in per-CPU memory and
//! processes it in exported functions. The verifier checks an exported function once, not once for every
//! path that leads to it. Therefore these functions take integers only.

pub(crate) mod doubts;
pub(crate) mod facts;
pub(crate) mod fast_path;
pub(crate) mod io;
pub(crate) mod io_side;
pub(crate) mod races;
pub(crate) mod returned;
pub(crate) mod table;
pub(crate) mod witness;

use core::ptr::NonNull;

use tracer_common::{id::ProcessId, process::ProcessEntry};

use self::io_side::IoSide;
use crate::{
    kernel::{
        kread::Kptr,
        regs,
        task::{self, FilesTable},
    },
    maps::SYSCALL_CONTEXT,
};

/// A returned syscall on the slow path.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SyscallContext {
    /// Class from [`table`].
    pub(crate) class: u32,
    /// 1 for a call of the 32-bit entry.
    pub(crate) compat: u32,
    /// Its result: a count, an fd, or a negative errno.
    pub(crate) result: i64,
    /// Its arguments.
    pub(crate) args: [u64; 6],
    /// Address of its saved registers.
    pub(crate) registers: u64,
    /// 1 if its registers are as after a call that seccomp trapped ([`regs::is_rolled_back`]).
    pub(crate) is_rolled_back: u32,
    /// As [`Transfer::doubt`](crate::ledger::Transfer).
    pub(crate) doubt: u32,
    /// Its transfer on one fd, if it moves bytes.
    pub(crate) side: IoSide,
}

impl SyscallContext {
    /// Stores a call. Always returns `true`; the check is needed for the verifier.
    #[inline(always)]
    pub(crate) fn store(regs: Kptr, is_compat: bool, class: u32, result: i64) -> bool {
        let Some(this) = Self::current() else { return false };
        (this.class, this.compat, this.result) = (class, u32::from(is_compat), result);
        this.is_rolled_back = u32::from(regs::is_rolled_back(regs, result));
        (this.registers, this.doubt) = (regs.0, 0);
        regs::copy(regs, is_compat, &mut this.args);
        true
    }

    /// The call that was stored last on this CPU.
    #[inline(always)]
    pub(crate) fn current() -> Option<&'static mut Self> {
        let returned: *mut Self = SYSCALL_CONTEXT.get_ptr_mut(0)?;
        // SAFETY: the map returned a valid, aligned pointer to this CPU's slot, which belongs to one
        // program; all members are integers.
        Some(unsafe { &mut *returned })
    }
}

/// The arguments of a call.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    values: &'static [u64; 6],
    /// Whether it is a call of the 32-bit entry.
    pub(crate) compat: bool,
}

impl Args {
    /// Argument `N`, zero-extended from 32 bits for a 32-bit caller.
    #[inline(always)]
    pub(crate) fn get<const N: usize>(self) -> u64 {
        self.values[N]
    }

    /// Argument `N` of a type with 32 bits, of which the kernel ignores the others: flags, commands.
    #[inline(always)]
    pub(crate) fn int<const N: usize>(self) -> u32 {
        self.get::<N>() as u32
    }

    /// Argument `N` as an fd number.
    #[inline(always)]
    pub(crate) fn fd<const N: usize>(self) -> i32 {
        self.int::<N>() as i32
    }
}

/// The current call and its caller.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Class from [`table`].
    pub(crate) class: u32,
    /// Its arguments.
    pub(crate) args: Args,
    /// Its result: a count, an fd, or a negative errno.
    pub(crate) result: i64,
    /// As [`Transfer::doubt`](crate::ledger::Transfer).
    pub(crate) doubt: u32,
    /// The open files of the caller.
    pub(crate) files: FilesTable,
    /// The caller's table entry; `None` if the caller is not followed.
    pub(crate) entry: Option<NonNull<ProcessEntry>>,
    /// The caller; only its tgid is set if it is not followed.
    pub(crate) process: ProcessId,
    /// `ROLE_*`, 0 if the caller is not followed.
    pub(crate) role: u32,
}

impl Call {
    /// The call that was stored last on this CPU, with the data of its caller.
    #[inline(always)]
    pub(crate) fn current() -> Option<Self> {
        let returned = SyscallContext::current()?;
        let (entry, process, role) = io::caller(task::current_tgid());
        let args = Args { values: &returned.args, compat: returned.compat == 1 };
        let (class, result, files) = (returned.class, returned.result, task::current_open_files());
        let doubt = returned.doubt;
        Some(Self { class, args, result, doubt, files, entry, process, role })
    }
}
