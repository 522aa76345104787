//! Counts everything that could not be recorded.

use tracer_common::loss::Reason;

use crate::{kernel::atomic::add, maps::LOSSES};

/// Counts one lost record that covered `bytes` transferred bytes.
#[inline(always)]
pub(crate) fn count(reason: Reason, bytes: u64) {
    count_number(reason as u32, bytes);
}

/// As [`count`], by the number of the reason.
#[inline(always)]
pub(crate) fn count_number(reason: u32, bytes: u64) {
    if let Some(cell) = LOSSES.get_ptr_mut(reason) {
        // SAFETY: the map returned a valid, aligned pointer to this CPU's cell.
        unsafe {
            add(&raw mut (*cell).events, 1);
            add(&raw mut (*cell).bytes, bytes);
        }
    }
}
