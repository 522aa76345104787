//! Reads the syscall number and arguments from the registers saved at kernel entry.
//!
//! All architecture-dependent code is in this file and in `syscalls/table.rs`.

use tracer_common::offsets::number;

use crate::kernel::{constants::Constant, kread::Kptr};

/// x86-64 `struct pt_regs` (`arch/x86/include/asm/ptrace.h`): byte offsets. `ax` already holds the
/// result at `sys_exit`; all argument registers are intact.
#[cfg(any(bpf_target_arch = "x86_64", not(target_arch = "bpf")))]
mod layout {
    pub(super) const NUMBER: u64 = 120; // orig_ax
    pub(super) const NATIVE: [u64; 6] = [112, 104, 96, 56, 72, 64]; // di si dx r10 r8 r9
    pub(super) const COMPAT: [u64; 6] = [40, 88, 96, 104, 112, 32]; // bx cx dx si di bp
    /// `TS_COMPAT` in `thread_info.status` (`arch/x86/include/asm/thread_info.h`).
    pub(super) const MODE: u32 = super::number::TASK_STATUS;
    pub(super) type Mode = u32;
    pub(super) const COMPAT_MODE: Mode = 0x0002;
    /// `TIF_SECCOMP` and `TIF_SYSCALL_EMU` before Linux 5.11 (`arch/x86/include/asm/thread_info.h`).
    pub(super) const FLAG_BITS: super::WorkBits =
        super::WorkBits { seccomp: 1 << 8, emulated: 1 << 6 };
}

/// AArch64 `struct pt_regs` (`arch/arm64/include/asm/ptrace.h`): `regs[31]`, `sp`, `pc`, `pstate`,
/// `orig_x0`, `syscallno`. `x0` holds the result, so argument 0 comes from `orig_x0`.
#[cfg(bpf_target_arch = "aarch64")]
mod layout {
    pub(super) const NUMBER: u64 = 280; // syscallno, s32
    pub(super) const NATIVE: [u64; 6] = [272, 8, 16, 24, 32, 40]; // orig_x0, x1..x5
    pub(super) const COMPAT: [u64; 6] = NATIVE;
    /// `TIF_32BIT` in `thread_info.flags` (`arch/arm64/include/asm/thread_info.h`).
    pub(super) const MODE: u32 = super::number::TASK_THREAD_FLAGS;
    pub(super) type Mode = u64;
    pub(super) const COMPAT_MODE: Mode = 1 << 22;
    /// `TIF_SECCOMP` and `TIF_SYSCALL_EMU` of kernels without `thread_info.syscall_work`.
    pub(super) const FLAG_BITS: super::WorkBits =
        super::WorkBits { seccomp: 1 << 11, emulated: 1 << 12 };
}

/// What the entry code of system calls has to do for a thread.
#[derive(Clone, Copy)]
pub(crate) struct WorkBits {
    /// The thread has a seccomp filter.
    pub(crate) seccomp: u64,
    /// Its tracer emulates its calls.
    pub(crate) emulated: u64,
}

/// `thread_info.flags`, which holds these bits where `thread_info.syscall_work` does not exist.
pub(crate) const FLAGS: Constant<{ number::TASK_THREAD_FLAGS }> = Constant;
/// The bits in [`FLAGS`].
pub(crate) const FLAG_BITS: WorkBits = layout::FLAG_BITS;
/// The bits in `thread_info.syscall_work`: `SYSCALL_WORK_BIT_SECCOMP` and `SYSCALL_WORK_BIT_SYSCALL_EMU`
/// (`include/linux/thread_info.h`).
pub(crate) const WORK_BITS: WorkBits = WorkBits { seccomp: 1 << 0, emulated: 1 << 3 };

/// Whether the registers are as seccomp restores them when it traps a call (`syscall_rollback`): the result register
/// holds what it held at entry, on x86-64 the number in its full width and on AArch64 the first argument.
#[inline(always)]
pub(crate) fn is_rolled_back(regs: Kptr, result: i64) -> bool {
    let entered =
        if cfg!(bpf_target_arch = "aarch64") { native::<0>(regs) } else { number_register(regs) };
    result as u64 == entered
}

/// Type of the task member that contains the flag of a 32-bit call.
pub(crate) type Mode = layout::Mode;

/// Offset of that member in `struct task_struct`.
pub(crate) const MODE: Constant<{ layout::MODE }> = Constant;

/// Whether the flag of a 32-bit call is set.
#[inline(always)]
pub(crate) fn is_compat(mode: Mode) -> bool {
    mode & layout::COMPAT_MODE != 0
}

/// The number of a call. The kernel uses the lower 32 bits of the register (`do_syscall_64`, arch/x86/entry/).
#[inline(always)]
pub(crate) fn number(regs: Kptr) -> u64 {
    number_of(number_register(regs))
}

/// The number in a register. Not of 32 bits, so that the verifier keeps its bounds.
#[inline(always)]
pub(crate) fn number_of(register: u64) -> u64 {
    register & 0xffff_ffff
}

/// The register with the number: 8 bytes on x86-64, 4 on AArch64. The verifier rejects a larger read.
#[inline(always)]
fn number_register(regs: Kptr) -> u64 {
    let address = regs.0 + layout::NUMBER;
    // SAFETY: `regs` is the `struct pt_regs *` argument of the tracepoint, typed by BTF.
    unsafe {
        if cfg!(bpf_target_arch = "aarch64") {
            u64::from(*(address as *const u32))
        } else {
            *(address as *const u64)
        }
    }
}

/// Number and first three arguments of a call of any thread, from its saved registers. `None` if they cannot be read.
#[inline(always)]
pub(crate) fn probed(regs: Kptr, is_compat: bool) -> Option<(u64, [u64; 3])> {
    let read = |offset: u64| Kptr(regs.0.wrapping_add(offset)).read::<u64>();
    let number = u64::from(Kptr(regs.0.wrapping_add(layout::NUMBER)).read::<u32>()?);
    let at = if is_compat { layout::COMPAT } else { layout::NATIVE };
    Some((number, [read(at[0])?, read(at[1])?, read(at[2])?]))
}

/// Argument `N` of a call of the native entry.
#[inline(always)]
pub(crate) fn native<const N: usize>(regs: Kptr) -> u64 {
    // SAFETY: as in `number`; the offsets are within `struct pt_regs`.
    unsafe { *((regs.0 + layout::NATIVE[N]) as *const u64) }
}

/// Argument `N` of a call of the 32-bit entry.
#[inline(always)]
fn compat<const N: usize>(regs: Kptr) -> u64 {
    // SAFETY: as in `native`.
    unsafe { *((regs.0 + layout::COMPAT[N]) as *const u64) & 0xffff_ffff }
}

/// Copies all arguments, zero-extended from 32 bits for a 32-bit caller.
#[inline(always)]
pub(crate) fn copy(regs: Kptr, is_compat: bool, out: &mut [u64; 6]) {
    if is_compat {
        out[0] = compat::<0>(regs);
        out[1] = compat::<1>(regs);
        out[2] = compat::<2>(regs);
        out[3] = compat::<3>(regs);
        out[4] = compat::<4>(regs);
        out[5] = compat::<5>(regs);
    } else {
        out[0] = native::<0>(regs);
        out[1] = native::<1>(regs);
        out[2] = native::<2>(regs);
        out[3] = native::<3>(regs);
        out[4] = native::<4>(regs);
        out[5] = native::<5>(regs);
    }
}
