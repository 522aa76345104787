//! `aya::Pod` for what user space reads out of maps.

use crate::{
    id::ProcessId,
    ledger::{FdKey, FdRow, LedgerKey, LedgerRow},
    loss::LossCell,
    object::{EndKey, ObjectId, ReadEnd},
    process::ProcessEntry,
};

macro_rules! pod {
    ($($type:ty),* $(,)?) => {
        $(
            // SAFETY: `repr(C)` of integers only, without padding (checked by `assert_layout!`), so
            // every bit pattern is a value and every value has only initialised bytes.
            unsafe impl aya::Pod for $type {}
        )*
    };
}

pod!(
    ProcessId,
    ObjectId,
    EndKey,
    ReadEnd,
    FdKey,
    FdRow,
    LedgerKey,
    LedgerRow,
    LossCell,
    ProcessEntry
);
