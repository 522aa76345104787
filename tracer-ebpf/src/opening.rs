//! Ledger rows that do not exist yet. Cold: once for each row.
//!
//! Opening a row does much: it puts the object under watch, notes who reads, announces the row. All of
//! that is behind one exported function, so that the verifier checks it once and not at each of the
//! places from which a row may be opened; the row waits in scratch memory meanwhile.

use tracer_common::{
    ledger::{LedgerKey, READ, WRITE},
    object::watch,
};

use crate::{
    constants::FOLLOW_READERS,
    emit,
    kread::Kptr,
    ledger::{self, Transfer},
    maps::slot,
    membership::{self, Sighting},
    read_ends, task,
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
fn place(slot: u32) -> u32 {
    if slot == slot::URING { slot::URING_ROW } else { slot::ROW }
}

/// Notes a row that is to be opened by [`open`] when the frames of the call at hand are gone:
/// kernels before 6.13 give all frames of a call chain 512 bytes together.
#[inline(always)]
pub(crate) fn wait(opening: &Opening, transfer: &Transfer) {
    let Some(record) = emit::start::<Waiting>(place(opening.slot), 0) else { return };
    record.payload.opening = *opening;
    record.payload.transfer = *transfer;
}

/// Opens the row of a program that waits.
#[inline(always)]
pub(crate) fn open(slot: u32) {
    let place = u64::from(place(slot));
    let hop = open_waiting(place);
    if hop != 0 {
        watch_output(place, hop);
    }
}

/// Puts the object of the row under watch, notes who reads, and books the first transfer. Returns how far
/// from the target the output of that reader is, where it is followed from now on; else 0. Exported, so
/// that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open_waiting(place: u64) -> u64 {
    let Some(record) = emit::resume::<Waiting>(place as u32) else { return 0 };
    let Waiting { opening, transfer } = &record.payload;
    if !begin(opening, transfer) {
        return 0;
    }
    let hop = if opening.key.direction == READ { note_reader(opening) } else { 0 };
    open_row(place);
    u64::from(hop)
}

/// Puts stdout and stderr of the reader whose row was opened under watch, before it writes to them: who
/// reads there may return from that before the writer does. Exported as [`open_waiting`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn watch_output(place: u64, hop: u64) -> u64 {
    if let Some(record) = emit::resume::<Waiting>(place as u32) {
        let Opening { key, slot, .. } = &record.payload.opening;
        // A worker of io_uring completes what another process began.
        if key.process.tgid == task::current_tgid() {
            let files = task::current_files();
            membership::watch_fd(*slot, &key.process, files, 1, hop as u32);
            membership::watch_fd(*slot, &key.process, files, 2, hop as u32);
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
    let Opening { key, slot, hop, .. } = *opening;
    if hop == NOT_OURS {
        return true;
    }
    let LedgerKey { process, object: id, fd, direction } = key;
    let in_flight = if direction == WRITE { transfer.result.max(0) as u64 } else { 0 };
    let mut sighting = Sighting { process, id, fd, slot, hop, in_flight };
    membership::watch(&mut sighting, opening.file);
    if hop == 0 && direction == WRITE {
        membership::mark_output(&id);
    }
    // A reader's wake-ups of itself (eventfd) and its /dev/null are nobody's way.
    hop == 0 || membership::is_shared_watch(&id)
}

/// A process that reads what passes on: its close will be told, and its own output followed. Returns as
/// [`open_waiting`].
#[inline(never)]
fn note_reader(opening: &Opening) -> u32 {
    let LedgerKey { process, object: id, fd, .. } = &opening.key;
    let Some(value) = membership::value(id) else { return 0 };
    if value & watch::PASSES_ON == 0 {
        return 0;
    }
    read_ends::remember(process, *fd, id, opening.file);
    let hop = watch::hop(value) + 1;
    if hop <= FOLLOW_READERS.load32() && membership::follow_output(process.tgid, hop) {
        hop
    } else {
        0
    }
}
