//! Atomic adds. `core` has no `fetch_add` for the BPF target. Every kernel since 3.18 accepts the instruction
//! without a result (`BPF_XADD`).

/// Adds to a counter that other CPUs may change at the same time.
///
/// # Safety
/// `counter` must point into a map value and be aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, amount: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's contract; the instruction accesses only the counter.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) amount);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's contract. It only lets host tools compile the crate; it never runs.
    unsafe {
        *counter += amount;
    }
}

/// Operand of [`add`] that decrements a counter.
pub(crate) const MINUS_ONE: u64 = u64::MAX;

/// As [`add`], for a counter of 4 bytes.
///
/// # Safety
/// `counter` must point into a map value and be aligned to 4 bytes.
#[inline(always)]
pub(crate) unsafe fn add32(counter: *mut u32, amount: u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as in `add`.
    unsafe {
        core::arch::asm!(
            "lock *(u32 *)({0} + 0) += {1}",
            in(reg) counter,
            in(reg) u64::from(amount),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as in `add`.
    unsafe {
        *counter += amount;
    }
}
