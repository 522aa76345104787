//! Counts a guest's calls in ledger rows, by the rules of the kernel side.

use tracer_common::{
    ledger::{LedgerRow, WINDOW_SHIFT, error},
    op,
};

/// `MAX_RW_COUNT` (`include/linux/fs.h`): a single call transfers no more.
const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// A call that transfers bytes, and has returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) time_ns: u64,
    /// Bytes, or an errno.
    pub(crate) outcome: Result<u64, u32>,
    /// Bytes that it was to transfer; `None` if gVisor does not tell.
    pub(crate) requested: Option<u64>,
    /// [`op`] code.
    pub(crate) op: u32,
}

impl Call {
    /// Whether it copies between two fds: it may end early, or fail, because of the other one.
    const fn is_copy(&self) -> bool {
        matches!(self.op, op::SENDFILE | op::SPLICE | op::TEE | op::COPY_FILE_RANGE)
    }
}

/// Adds a call to its row.
pub(crate) fn count(row: &mut LedgerRow, call: &Call) {
    if row.first_ns == 0 {
        row.first_ns = call.time_ns;
    }
    move_window(row, call.time_ns);
    row.ops |= 1 << call.op;
    match call.outcome {
        Ok(bytes) => {
            row.bytes = row.bytes.saturating_add(bytes);
            row.calls += 1;
            row.zero += u32::from(bytes == 0);
            let is_short = bytes > 0 && call.requested.is_some_and(|requested| bytes < requested);
            row.short += u32::from(is_short && !call.is_copy());
            row.last_refused = 0;
        }
        Err(errno) => fail(row, call, errno),
    }
}

fn move_window(row: &mut LedgerRow, now: u64) {
    let window = now >> WINDOW_SHIFT;
    row.last_ns = now.max(row.last_ns);
    if row.window != window {
        let previous = row.bytes.saturating_sub(row.before_window);
        row.previous_window_bytes = if row.window + 1 == window { previous } else { 0 };
        row.before_window = row.bytes;
        row.window = window;
    }
}

fn fail(row: &mut LedgerRow, call: &Call, errno: u32) {
    let class = class(errno);
    let is_unsupported = [libc::EINVAL, libc::EXDEV, libc::ENOSYS, libc::EOPNOTSUPP];
    if call.is_copy() && is_unsupported.contains(&errno.cast_signed()) {
        return;
    }
    let count = &mut row.errors[class as usize];
    *count = count.saturating_add(1);
    let Some(requested) = call.requested.filter(|_| class != error::EINTR && !call.is_copy())
    else {
        return;
    };
    let refused = requested.min(MAX_RW_COUNT);
    if class == error::EAGAIN {
        row.refused = row.refused.saturating_add(refused);
        row.last_refused = refused;
    } else {
        row.failed = row.failed.saturating_add(refused);
    }
}

/// The class of an errno. A call that a signal interrupted returns `ERESTARTSYS` and its kin first, which gVisor tells
/// as they are.
const fn class(errno: u32) -> u32 {
    match errno.cast_signed() {
        libc::EPIPE => error::EPIPE,
        libc::EAGAIN => error::EAGAIN,
        libc::EBADF => error::EBADF,
        libc::ENOSPC => error::ENOSPC,
        libc::EIO => error::EIO,
        libc::EINTR | 512..=516 => error::EINTR,
        libc::EFBIG => error::EFBIG,
        libc::EDQUOT => error::EDQUOT,
        _ => error::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(outcome: Result<u64, u32>) -> Call {
        Call { time_ns: 1 << WINDOW_SHIFT, outcome, requested: Some(10), op: op::WRITE }
    }

    #[test]
    fn calls_are_counted_by_outcome() {
        let mut row = LedgerRow::ZERO;
        for outcome in [Ok(10), Ok(4), Ok(0), Err(11), Err(32), Err(4), Err(512)] {
            count(&mut row, &call(outcome));
        }
        assert_eq!((row.bytes, row.calls, row.short, row.zero), (14, 3, 1, 1));
        assert_eq!((row.refused, row.failed, row.last_refused), (10, 10, 10));
        assert_eq!(row.errors[error::EINTR as usize], 2);
        assert_eq!(row.ops, 1 << op::WRITE);
    }

    #[test]
    fn a_copy_that_is_not_supported_is_no_error() {
        let mut row = LedgerRow::ZERO;
        count(&mut row, &Call { op: op::SENDFILE, ..call(Err(22)) });
        assert_eq!(row.errors, [0; error::COUNT]);
    }
}
