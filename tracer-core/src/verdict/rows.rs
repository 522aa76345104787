//! Sums of rows of the ledger.

use tracer_common::{
    ledger::{LedgerRow, error},
    op,
};

/// Calls that copy from fd to fd. If the kernel cannot do that for a pair of fds, it returns `EINVAL`, `EXDEV` or
/// `EBADF` (`copy_file_range(2)`: the target was opened with `O_APPEND`), and the program writes instead.
pub(super) const COPIES: u32 = 1 << op::SENDFILE
    | 1 << op::SPLICE
    | 1 << op::TEE
    | 1 << op::COPY_FILE_RANGE
    | 1 << op::FICLONE;

/// The row without failed copies that a write replaced, or that had nothing to copy.
pub(super) fn without_probes(row: &LedgerRow, succeeded: bool) -> LedgerRow {
    let mut row = *row;
    let only_copies = row.ops & !COPIES == 0;
    if row.ops & COPIES != 0 && (row.bytes > 0 || only_copies && succeeded) {
        row.errors[error::EBADF as usize] = 0;
        row.errors[error::OTHER as usize] = 0;
    }
    row
}

pub(super) fn add(sum: &mut LedgerRow, row: &LedgerRow) {
    sum.bytes = sum.bytes.saturating_add(row.bytes);
    sum.calls = sum.calls.saturating_add(row.calls);
    sum.refused = sum.refused.saturating_add(row.refused);
    sum.failed = sum.failed.saturating_add(row.failed);
    sum.last_refused = sum.last_refused.saturating_add(row.last_refused);
    sum.short = sum.short.saturating_add(row.short);
    sum.zero = sum.zero.saturating_add(row.zero);
    sum.first_ns = if sum.first_ns == 0 { row.first_ns } else { sum.first_ns.min(row.first_ns) };
    sum.last_ns = sum.last_ns.max(row.last_ns);
    sum.ops |= row.ops;
    for class in 0..error::COUNT {
        sum.errors[class] = sum.errors[class].saturating_add(row.errors[class]);
    }
}
