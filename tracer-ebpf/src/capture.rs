//! Copies written data from the memory of the writer, if capture is on.
//!
//! Capturing a write has three phases, each with a stack of its own. Booking stores the ledger key of the write
//! ([`set_pending`]). The syscall or io_uring code locates its buffers ([`memory`], [`stored`]). [`send_write`]
//! sends the data. Between the phases, the write is stored in per-CPU memory.
//!
//! Capturing never changes a count. Data that could not be sent is missing from the capture only, and its length
//! is recorded.

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
    events::emit,
    kernel::{
        atomic::add,
        constants::{CAPTURE, CAPTURE_LIMIT},
        task,
    },
    ledger::{self, Transfer},
    maps::CAPTURING,
    targets::{membership, watches},
};

/// The part of a record before the data.
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
    /// Where its data is.
    memory: Memory,
    /// The result of its call; 0 if no write is pending.
    result: i64,
    /// Number of bytes copied into the ring.
    sent: u64,
    head: Head,
    /// The data of a partial chunk, directly after `head`.
    bytes: [MaybeUninit<u8>; CHUNK],
}

/// Slots of [`CAPTURING`]: an io_uring completion may interrupt the `sys_exit` program.
pub(crate) mod slot {
    pub(crate) const SYS_EXIT: u32 = 0;
    pub(crate) const URING: u32 = 1;
    pub(crate) const COUNT: u32 = 2;
}

/// Whether capture is on.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    CAPTURE.load() == 1
}

/// The entry of a slot.
#[inline(always)]
fn at(slot: u32) -> Option<&'static mut Capturing> {
    let capturing: *mut Capturing = CAPTURING.get_ptr_mut(slot)?;
    // SAFETY: the map returned a valid, aligned pointer to this CPU's slot, which belongs to one
    // program; all members are integers.
    Some(unsafe { &mut *capturing })
}

/// Stores a transfer that is booked, of any kind. [`is_pending`] checks later whether to capture it: a check with
/// a result here would double the paths that the verifier follows.
#[inline(always)]
pub(crate) fn set_pending(slot: u32, key: &LedgerKey, transfer: &Transfer) {
    if is_on()
        && let Some(this) = at(slot)
    {
        this.result = transfer.result;
        this.head.chunk.key = *key;
        this.head.chunk.op = transfer.op;
    }
}

/// Whether a slot has a pending write.
#[inline(always)]
fn is_pending(slot: u32) -> bool {
    is_on()
        && at(slot).is_some_and(|this| this.result > 0 && this.head.chunk.key.direction == WRITE)
}

/// Sends the pending write of a slot.
#[inline(always)]
fn send_write(this: &mut Capturing, slot: u32) {
    let written = core::mem::take(&mut this.result) as u64;
    let key = &this.head.chunk.key;
    if !is_output(key) {
        return;
    }
    let Some(row) = ledger::find(key).map(|found| found.row) else { return };
    let Some(remaining) = remaining(row) else { return };
    begin(this, row);
    if let Some(reason) = this.memory.gap_reason() {
        return send::send_gap(this, written, reason);
    }
    let wanted = written.min(remaining);
    send::send_data(this, u64::from(slot), wanted.min(CALL));
    if wanted > CALL {
        send::send_gap(this, wanted - CALL, gap::TOO_LARGE);
    }
    // SAFETY: the row points to a live map value.
    unsafe { add(&raw mut (*row).captured, this.sent) };
}

/// Whether the write is to be captured: it goes to an object to which the target writes output. Writes of other
/// processes are captured on pipes and sockets only, where all bytes are needed to determine which were lost. On
/// a terminal or log file that the target shares with other processes, their output is private.
#[inline(always)]
fn is_output(key: &LedgerKey) -> bool {
    let Some(value) = watches::value(&key.object) else { return false };
    if watch::hop(value) != 0 || value & watch::OUTPUT == 0 {
        return false;
    }
    let tgid = key.process.tgid;
    match membership::entry(tgid) {
        Some(entry) if membership::is_target(membership::read(tgid, entry).1) => true,
        // Excludes tracer itself: it would capture and show its own output again.
        _ => value & watch::PASSES_ON != 0 && !membership::is_tracer(tgid),
    }
}

/// Number of bytes of this row until its limit; `None` if the limit is reached.
#[inline(always)]
fn remaining(row: *mut LedgerRow) -> Option<u64> {
    // SAFETY: the row points to a live map value.
    let captured = unsafe { (*row).captured };
    let limit = CAPTURE_LIMIT.load();
    (captured < limit).then(|| limit - captured)
}

/// Fills in the members that all records of one write share.
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
