//! Writes that have no row: to objects that are not watched. Only their sums are kept, of each process.

use tracer_common::{ledger::WRITE, process::ProcessEntry};

use crate::kernel::atomic::{add, add32};

/// Adds a write to the sums of a process that have no row.
#[inline(always)]
pub(crate) fn count(entry: *mut ProcessEntry, direction: u32, result: i64) {
    if direction != WRITE {
        return;
    }
    if result > 0 {
        // SAFETY: the entry points to a live map value.
        unsafe {
            add(&raw mut (*entry).other_bytes, result as u64);
            add(&raw mut (*entry).other_calls, 1);
        }
    } else if is_refusal(-result) {
        // SAFETY: as above; of two errors at the same time, either is the latest.
        unsafe {
            add32(&raw mut (*entry).other_failed, 1);
            (*entry).other_errno = (-result) as u32;
        }
    }
}

/// Whether only a file system refuses a write with this errno: `EFBIG`, `ENOSPC`, `EDQUOT`.
#[inline(always)]
pub(crate) fn is_refusal(errno: i64) -> bool {
    matches!(errno, 27 | 28 | 122)
}
