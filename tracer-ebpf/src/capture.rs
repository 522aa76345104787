//! Copies what was written out of the writer's memory, when somebody asked for it.
//!
//! A captured write goes through three hands, so that each has the stack to itself. Booking it notes
//! whose bytes they are ([`note`]); the syscall or io_uring side says where they lie ([`memory`],
//! [`stored`]); [`send_write`] sends them. Between them it stands in per-CPU memory.
//!
//! Nothing here can change a count: what is not sent is missing from the capture only, and its length
//! is known.

pub(crate) mod memory;
mod send;
pub(crate) mod stored;

use core::mem::MaybeUninit;

use tracer_common::{
    capture::{CALL, CHUNK, Chunk, KIND, gap},
    event::Header,
    ledger::{LedgerKey, LedgerRow, WRITE},
    object::watch,
};

use self::memory::Memory;
use crate::{
    atomic::add,
    constants::{CAPTURE, CAPTURE_LIMIT, SELF_TGID},
    emit,
    ledger::{self, Transfer},
    maps::CAPTURING,
    membership, task,
};

/// What precedes the bytes in a record.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Head {
    header: Header,
    chunk: Chunk,
}

/// A write that is being captured.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Capturing {
    /// Where its bytes lie.
    memory: Memory,
    /// What its call returned; 0 when nothing stands here.
    result: i64,
    /// Bytes of it that went into the ring.
    sent: u64,
    head: Head,
    /// The bytes of a piece that is not full, directly behind `head`.
    bytes: [MaybeUninit<u8>; CHUNK],
}

/// Slots of [`CAPTURING`]: a completion may interrupt a syscall's return.
pub(crate) mod place {
    pub(crate) const SYS_EXIT: u32 = 0;
    pub(crate) const URING: u32 = 1;
    pub(crate) const COUNT: u32 = 2;
}

/// Whether anything is captured in this trace.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    CAPTURE.load() == 1
}

/// The write that stands in a slot.
#[inline(always)]
fn at(place: u32) -> Option<&'static mut Capturing> {
    let capturing: *mut Capturing = CAPTURING.get_ptr_mut(place)?;
    // SAFETY: the map returned a valid, aligned pointer to this CPU's slot, which belongs to one
    // program; every member is made of integers.
    Some(unsafe { &mut *capturing })
}

/// Notes a transfer that is booked. Without a condition, and asked for by [`is_pending`] rather than
/// returned: the verifier would follow each answer through all that comes after it.
#[inline(always)]
pub(crate) fn note(place: u32, key: &LedgerKey, transfer: &Transfer) {
    if is_on()
        && let Some(this) = at(place)
    {
        this.result = transfer.result;
        this.head.chunk.key = *key;
        this.head.chunk.op = transfer.op;
    }
}

/// Whether a write stands in a slot.
#[inline(always)]
fn is_pending(place: u32) -> bool {
    is_on()
        && at(place).is_some_and(|this| this.result > 0 && this.head.chunk.key.direction == WRITE)
}

/// Sends the write that stands in a slot.
#[inline(always)]
fn send_write(this: &mut Capturing, place: u32) {
    let written = core::mem::take(&mut this.result) as u64;
    let key = &this.head.chunk.key;
    if !is_output(key) {
        return;
    }
    let Some(row) = ledger::find(key).map(|found| found.row) else { return };
    let Some(room) = room(row) else { return };
    begin(this, row);
    if let Some(reason) = this.memory.lacks() {
        return send::missing(this, written, reason);
    }
    let wanted = written.min(room);
    send::everything(this, u64::from(place), wanted.min(CALL));
    if wanted > CALL {
        send::missing(this, wanted - CALL, gap::TOO_LARGE);
    }
    // SAFETY: the row points to a live map value.
    unsafe { add(&raw mut (*row).captured, this.sent) };
}

/// Whether this is output of the target: its input is nobody's business. What others write counts where
/// it goes the same way, through a pipe or socket: to know which bytes were lost, all of them must be
/// known. A terminal or a log file that the target shares with others is theirs as well.
#[inline(always)]
fn is_output(key: &LedgerKey) -> bool {
    let Some(value) = membership::value(&key.object) else { return false };
    if watch::hop(value) != 0 || value & watch::OUTPUT == 0 {
        return false;
    }
    let tgid = key.process.tgid;
    match membership::entry(tgid) {
        Some(entry) if membership::is_target(membership::read(tgid, entry).1) => true,
        // What tracer shows would be captured and shown again.
        _ => value & watch::PASSES_ON != 0 && tgid != SELF_TGID.load32(),
    }
}

/// How many bytes of this row are still wanted; `None` when its limit was reached.
#[inline(always)]
fn room(row: *mut LedgerRow) -> Option<u64> {
    // SAFETY: the row points to a live map value.
    let captured = unsafe { (*row).captured };
    let limit = CAPTURE_LIMIT.load();
    (captured < limit).then(|| limit - captured)
}

/// What all records of one write have in common.
#[inline(always)]
fn begin(this: &mut Capturing, row: *mut LedgerRow) {
    this.sent = 0;
    this.head.header = Header { time_ns: emit::now(), kind: KIND, text_len: 0 };
    let chunk = &mut this.head.chunk;
    // SAFETY: the row points to a live map value.
    chunk.lost = unsafe { (*row).uncaptured };
    chunk.tid = task::current_tid();
    chunk.comm = task::current_comm();
}
