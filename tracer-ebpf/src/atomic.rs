//! Atomic adds. The BPF target of `core` has no `fetch_add`, and the instruction without a result
//! (`BPF_XADD`) is the one that every kernel since 3.18 accepts.

/// Adds to a counter that other CPUs may change at the same time.
///
/// # Safety
/// `counter` must point into a map value and be aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, amount: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's contract; the instruction touches the counter alone.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) amount);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: never runs; keeps the crate readable to tools on the host.
    unsafe {
        *counter += amount;
    }
}

/// Takes one from a counter with [`add`].
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
