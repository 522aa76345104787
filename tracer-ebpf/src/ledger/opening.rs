//! Opens new ledger rows. Cold: runs once for each row.
//!
//! Opening a row takes several steps: watch the object, register its reader, insert the row, send the event.
//! Exported functions do this, so that the verifier checks them once and not at each call. Until then the row
//! is pending: it is stored in scratch memory.

use tracer_common::{
    ledger::{LedgerKey, READ, WRITE},
    object::watch,
    process::ROLE_PARTICIPANT,
};

use crate::{
    events::emit,
    kernel::{constants::FOLLOW_READERS, kread::Kptr, task},
    ledger::{self, NO_TRANSFER, Transfer, UNKNOWN, elsewhere},
    maps::slot,
    read_ends,
    targets::{
        membership,
        watches::{self, Sighting},
    },
};

/// [`Opening::hop`] of a row that does not watch its object.
pub(crate) const NO_WATCH: u32 = u32::MAX;

/// A row that does not exist yet.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    /// Its key.
    pub(crate) key: LedgerKey,
    /// The open file.
    pub(crate) file: Kptr,
    /// `ROLE_*` of the process.
    pub(crate) role: u32,
    /// Scratch slot of the calling program.
    pub(crate) slot: u32,
    /// The hop with which its object becomes watched; [`NO_WATCH`] if the transfer does not change that.
    pub(crate) hop: u32,
    /// Why its counts may be wrong: a bit of [`tracer_common::loss::Reason`], or 0.
    pub(crate) doubt: u32,
}

/// A row and its first transfer, in scratch memory.
#[derive(Clone, Copy)]
struct Pending {
    opening: Opening,
    transfer: Transfer,
}

/// The scratch slot for pending rows of this program.
#[inline(always)]
fn pending_slot(slot: u32) -> u32 {
    if slot == slot::URING { slot::URING_ROW } else { slot::ROW }
}

/// Stores a row until [`open`] opens it, when the stack frames of the current calls are free again. Kernels
/// before 6.13 limit all frames of a call chain to 512 bytes together.
#[inline(always)]
pub(crate) fn set_pending(opening: &Opening, transfer: &Transfer) {
    let Some(record) = emit::start::<Pending>(pending_slot(opening.slot), 0) else { return };
    record.payload.opening = *opening;
    record.payload.transfer = *transfer;
}

/// As [`set_pending`], for a row that is only doubted: no transfer is booked.
#[inline(always)]
pub(crate) fn set_pending_doubt(opening: &Opening) {
    set_pending(opening, &Transfer { op: NO_TRANSFER, doubt: 0, result: 0, requested: UNKNOWN });
}

/// Opens the pending row of a program.
#[inline(always)]
pub(crate) fn open(slot: u32) {
    let pending = u64::from(pending_slot(slot));
    let hop = open_pending(pending);
    if hop != 0 {
        watch_output(pending, hop);
    }
}

/// Watches the object of the pending row, registers its reader and books the first transfer. If the reader has
/// become a relay, returns the hop of its output; otherwise 0. Exported, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open_pending(pending: u64) -> u64 {
    let Some(record) = emit::resume::<Pending>(pending as u32) else { return 0 };
    let Pending { opening, transfer } = &record.payload;
    if !begin(opening, transfer) {
        if let Some(entry) = membership::entry(opening.key.process.tgid) {
            elsewhere::count(entry, opening.key.direction, transfer.result);
        }
        return 0;
    }
    let hop = if opening.key.direction == READ { register_reader(opening) } else { 0 };
    open_row(pending);
    u64::from(hop)
}

/// Watches stdout and stderr of the reader whose row was opened, before it writes to them: the read call of the
/// next reader may return before the write call does. Exported for the same reason as [`open_pending`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn watch_output(pending: u64, hop: u64) -> u64 {
    if let Some(record) = emit::resume::<Pending>(pending as u32) {
        let Opening { key, slot, .. } = &record.payload.opening;
        // The current process may differ, if it completes an io_uring request of another process.
        if key.process.tgid == task::current_tgid() {
            let files = task::current_files();
            watches::watch_fd(*slot, &key.process, files, 1, hop as u32);
            watches::watch_fd(*slot, &key.process, files, 2, hop as u32);
        }
    }
    0
}

/// Creates the pending row and books its transfer. Exported for the same reason as [`open_pending`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open_row(pending: u64) -> u64 {
    if let Some(record) = emit::resume::<Pending>(pending as u32) {
        let Pending { opening, transfer } = &record.payload;
        ledger::open(opening, transfer);
    }
    0
}

/// Watches the object of the row. Returns `false` if no row is to be created.
#[inline(always)]
fn begin(opening: &Opening, transfer: &Transfer) -> bool {
    let Opening { key, slot, hop, role, .. } = *opening;
    // Here and not where the call is booked: the frames of both together exceed the stack.
    if role == ROLE_PARTICIPANT {
        membership::follow_participant(&key.process, task::current());
    }
    if hop == NO_WATCH {
        return true;
    }
    let LedgerKey { process, object: id, fd, direction } = key;
    let bytes = transfer.result.max(0) as u64;
    let (in_flight, taken) = if direction == WRITE { (bytes, 0) } else { (0, bytes) };
    let mut sighting = Sighting { process, id, fd, slot, hop, in_flight, taken };
    watches::watch(&mut sighting, opening.file);
    if hop == 0 && direction == WRITE {
        watches::mark_output(&id);
    }
    // Anonymous inodes and /dev/null never extend the relay chain.
    hop == 0 || watches::is_shared_watch(&id)
}

/// Registers the reader of an object that passes bytes on: the close of its read end is reported and its output
/// is followed. Returns as [`open_pending`].
#[inline(never)]
fn register_reader(opening: &Opening) -> u32 {
    let LedgerKey { process, object: id, fd, .. } = &opening.key;
    let Some(value) = watches::value(id) else { return 0 };
    if value & watch::PASSES_ON == 0 {
        return 0;
    }
    // Without a file the fd is closed already.
    if opening.file.0 != 0 {
        read_ends::register(process, *fd, id, opening.file);
    }
    let hop = watch::hop(value) + 1;
    if hop <= FOLLOW_READERS.load32() && membership::follow_output(process.tgid, hop) {
        hop
    } else {
        0
    }
}
