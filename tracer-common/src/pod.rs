//! `aya::Pod` for the types that user space reads from maps.

use zerocopy::{FromBytes, IntoBytes};

use crate::{
    id::ProcessId,
    ledger::{FdKey, FdRow, LedgerKey, LedgerRow, ThreadIo, UringRequest},
    loss::LossCell,
    object::{EndKey, FileKey, KnownFile, ObjectId, ReadEnd, Watch},
    process::ProcessEntry,
    sweep,
};

/// Compiles only for types without padding for which every bit pattern is valid.
const fn is_plain<T: FromBytes + IntoBytes>() {}

macro_rules! pod {
    ($($type:ty),* $(,)?) => {
        $(
            const _: () = is_plain::<$type>();
            // SAFETY: `is_plain` proves what `Pod` requires.
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
    ProcessEntry,
    ThreadIo,
    UringRequest,
    FileKey,
    KnownFile,
    Watch,
    sweep::Run,
);
