//! The syscall number and arguments, out of the registers saved at kernel entry.
//!
//! Everything that depends on the architecture is in this file and in `syscalls/table.rs`.

use crate::kread::Kptr;

/// The six argument registers of a syscall, as the kernel saw them.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    pub(crate) regs: Kptr,
    pub(crate) compat: bool,
}

/// x86-64 `struct pt_regs` (`arch/x86/include/asm/ptrace.h`): byte offsets. `ax` already holds the
/// result at `sys_exit`; all argument registers are intact.
#[cfg(any(bpf_target_arch = "x86_64", not(target_arch = "bpf")))]
mod layout {
    pub(super) const NUMBER: u64 = 120; // orig_ax
    pub(super) const NATIVE: [u64; 6] = [112, 104, 96, 56, 72, 64]; // di si dx r10 r8 r9
    pub(super) const COMPAT: [u64; 6] = [40, 88, 96, 104, 112, 32]; // bx cx dx si di bp
}

/// AArch64 `struct pt_regs` (`arch/arm64/include/asm/ptrace.h`): `regs[31]`, `sp`, `pc`, `pstate`,
/// `orig_x0`, `syscallno`. `x0` holds the result, so argument 0 comes from `orig_x0`.
#[cfg(bpf_target_arch = "aarch64")]
mod layout {
    pub(super) const NUMBER: u64 = 280; // syscallno, s32
    pub(super) const NATIVE: [u64; 6] = [272, 8, 16, 24, 32, 40]; // orig_x0, x1..x5
    pub(super) const COMPAT: [u64; 6] = NATIVE;
}

/// The syscall number.
#[inline(always)]
pub(crate) fn number(regs: Kptr) -> u64 {
    // SAFETY: `regs` is the `struct pt_regs *` argument of the tracepoint, typed by BTF.
    let raw = unsafe { *((regs.0 + layout::NUMBER) as *const u64) };
    if cfg!(bpf_target_arch = "aarch64") { raw & 0xffff_ffff } else { raw }
}

impl Args {
    /// Argument `N`, zero-extended from 32 bits for a 32-bit caller.
    #[inline(always)]
    pub(crate) fn get<const N: usize>(self) -> u64 {
        let offset = if self.compat { layout::COMPAT[N] } else { layout::NATIVE[N] };
        // SAFETY: as in `number`; the offsets are constants inside `struct pt_regs`.
        let raw = unsafe { *((self.regs.0 + offset) as *const u64) };
        if self.compat { raw & 0xffff_ffff } else { raw }
    }

    /// Argument `N` as an fd number.
    #[inline(always)]
    pub(crate) fn fd<const N: usize>(self) -> i32 {
        self.get::<N>() as u32 as i32
    }
}
