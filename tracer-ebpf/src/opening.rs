//! Ledger rows that do not exist yet. Cold: once for each row.
//!
//! Opening a row does much: it puts the object under watch, notes who reads, announces the row. All of
//! that is behind one exported function, so that the verifier checks it once and not at each of the
//! places from which a row may be opened; the row waits in scratch memory meanwhile.

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, READ, WRITE},
    object::{ObjectId, watch},
};

use crate::{
    constants::FOLLOW_READERS,
    emit,
    kread::Kptr,
    ledger::{self, Transfer},
    maps::slot,
    membership::{self, Sighting},
    read_ends,
};

/// [`Opening::hop`] of a row that puts nothing under watch.
pub(crate) const NOT_OURS: u32 = u32::MAX;

/// A row that does not exist yet.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    /// Its address.
    pub(crate) key: LedgerKey,
    /// The open file.
    pub(crate) file: Kptr,
    /// `ROLE_*` of the process.
    pub(crate) role: u32,
    /// Scratch slot of the calling program.
    pub(crate) slot: u32,
    /// How far from the target its object is; [`NOT_OURS`] when that is for others to say.
    pub(crate) hop: u32,
}

/// What waits in scratch memory.
#[derive(Clone, Copy)]
struct Waiting {
    opening: Opening,
    transfer: Transfer,
}

/// The scratch slot in which a row of this program waits.
#[inline(always)]
pub(crate) fn place(slot: u32) -> u32 {
    if slot == slot::URING { slot::URING_ROW } else { slot::ROW }
}

/// Notes a row that is to be opened by [`open_waiting`] when the frames of the call at hand are gone:
/// kernels before 6.13 give all frames of a call chain 512 bytes together.
#[inline(always)]
pub(crate) fn wait(opening: &Opening, transfer: &Transfer) {
    let Some(record) = emit::start::<Waiting>(place(opening.slot), 0) else { return };
    record.payload.opening = *opening;
    record.payload.transfer = *transfer;
}

/// Opens the row that waits: puts its object under watch, notes who reads, and books the first transfer.
/// Exported, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn open_waiting(place: u64) -> u64 {
    if let Some(record) = emit::resume::<Waiting>(place as u32) {
        let Waiting { opening, transfer } = &record.payload;
        if begin(opening, transfer) {
            open_row(place);
        }
    }
    0
}

/// Books the transfer that waits in its row, which is made. Exported as [`open_waiting`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open_row(place: u64) -> u64 {
    if let Some(record) = emit::resume::<Waiting>(place as u32) {
        let Waiting { opening, transfer } = &record.payload;
        ledger::open(opening, transfer);
    }
    0
}

/// What comes before the row; `false` when there will be none.
#[inline(always)]
fn begin(opening: &Opening, transfer: &Transfer) -> bool {
    let LedgerKey { process, object: id, fd, direction } = opening.key;
    if opening.hop != NOT_OURS {
        let in_flight = if direction == WRITE { transfer.result.max(0) as u64 } else { 0 };
        let (slot, hop) = (opening.slot, opening.hop);
        let mut sighting = Sighting { process, id, fd, slot, hop, in_flight };
        membership::watch(&mut sighting, opening.file);
        if hop == 0 && direction == WRITE {
            membership::mark_output(&id);
        }
        // A reader's wake-ups of itself (eventfd) and its /dev/null are nobody's way.
        if hop > 0 && !membership::is_shared_watch(&id) {
            return false;
        }
    }
    if direction == READ {
        note_reader(&process, fd, &id, opening.file);
    }
    true
}

/// A process that reads what passes on: its close will be told, and its own output followed.
#[inline(never)]
fn note_reader(process: &ProcessId, fd: i32, id: &ObjectId, file: Kptr) {
    let Some(value) = membership::value(id) else { return };
    if value & watch::PASSES_ON == 0 {
        return;
    }
    read_ends::remember(process, fd, id, file);
    let hop = watch::hop(value) + 1;
    if hop <= FOLLOW_READERS.load32() {
        membership::follow_output(process.tgid, hop);
    }
}
