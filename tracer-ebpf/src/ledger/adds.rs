//! How counters are changed.

/// How counters are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adds {
    /// With atomic adds: other CPUs may change them at the same time.
    Atomic,
    /// With plain adds: the process has a single thread and no followed process has used io_uring, so no other
    /// CPU changes them.
    Plain,
}

/// 1 once a followed process has submitted an io_uring request. From then on, the task that completes a request and the
/// submitter may change the same row at the same time.
#[unsafe(no_mangle)]
static mut URING_USED: u32 = 0;

/// Whether a followed process has used io_uring.
#[inline(always)]
pub(crate) fn has_ring() -> bool {
    // SAFETY: an aligned load; once it is 1 it stays 1.
    unsafe { core::ptr::read_volatile(&raw const URING_USED) != 0 }
}

/// Notes that a followed process uses io_uring.
#[inline(always)]
pub(crate) fn note_ring() {
    // SAFETY: an aligned store; every CPU stores the same value.
    unsafe { core::ptr::write_volatile(&raw mut URING_USED, 1) };
}
