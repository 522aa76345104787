//! Where rows are: in a slot that follows from process and fd, under process and fd, or under the whole key.

use tracer_common::{
    id::ProcessId,
    ledger::{FdKey, FdRow, InodeFingerprint, LedgerKey, LedgerRow, NO_TICK},
    object::watch,
};

use crate::{
    emit,
    kread::Kptr,
    maps::{FD_ROWS, LEDGER, ROW_SLOTS, TAKEN_SLOTS},
    membership::{self, NOEXIST},
    object,
};

/// A new row. In `.rodata`, because the stack of all frames together is 512 bytes.
static FRESH: LedgerRow = LedgerRow::ZERO;

#[inline(always)]
fn fresh() -> &'static LedgerRow {
    &FRESH
}

/// A row in its map.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Its content.
    pub(crate) row: *mut LedgerRow,
    /// [`FdRow::tick`], or NULL.
    pub(super) tick: *mut u64,
}

impl Found {
    /// # Safety
    /// Of a live map value.
    #[inline(always)]
    unsafe fn at(found: *mut FdRow) -> Self {
        // SAFETY: the caller's contract.
        unsafe { Self { row: &raw mut (*found).row, tick: &raw mut (*found).tick } }
    }
}

/// The row of a key.
#[inline(always)]
pub(crate) fn find(key: &LedgerKey) -> Option<Found> {
    by_fd(key).or_else(|| later(key))
}

/// The row of an fd, when it is the one of this process and object.
#[inline(always)]
fn by_fd(key: &LedgerKey) -> Option<Found> {
    let short = FdKey::from(key);
    let is_this = |found: *const FdRow| {
        // SAFETY: points to a live map value. A key is written once, the start last.
        unsafe {
            let known = &raw const (*found).key;
            (*known).process.start_ns == key.process.start_ns
                && (*known).process.tgid == key.process.tgid
                && (*known).object.ino == key.object.ino
                && (*known).object.dev == key.object.dev
                && (*known).object.discriminator == key.object.discriminator
                && (*known).fd == key.fd
                && (*known).direction == key.direction
        }
    };
    by_slot(short, is_this).or_else(|| mapped(short, is_this))
}

/// The row of an fd, when it is the one of this process and inode.
#[inline(always)]
pub(crate) fn by_inode(
    short: FdKey,
    process: &ProcessId,
    inode: &InodeFingerprint,
) -> Option<Found> {
    let is_this = |found: *const FdRow| {
        // SAFETY: as in `by_fd`.
        unsafe {
            let mark = &raw const (*found).inode;
            let key = &raw const (*found).key;
            (*mark).address == inode.address
                && (*mark).number == inode.number
                && (*mark).file_system == inode.file_system
                && (*mark).generation == inode.generation
                && (*key).process.start_ns == process.start_ns
                && (*key).process.tgid == process.tgid
                && FdKey::new(process.tgid, (*key).fd, (*key).direction).fd_and_direction
                    == short.fd_and_direction
        }
    };
    by_slot(short, is_this).or_else(|| mapped(short, is_this))
}

#[inline(always)]
fn by_slot(short: FdKey, is_this: impl Fn(*const FdRow) -> bool) -> Option<Found> {
    let found: *mut FdRow = ROW_SLOTS.get_ptr_mut(short.slot())?;
    // SAFETY: points to a live map value.
    is_this(found).then(|| unsafe { Found::at(found) })
}

#[inline(always)]
fn mapped(short: FdKey, is_this: impl Fn(*const FdRow) -> bool) -> Option<Found> {
    let found: *mut FdRow = FD_ROWS.get_ptr_mut(short)?;
    // SAFETY: points to a live map value.
    is_this(found).then(|| unsafe { Found::at(found) })
}

/// The row of an fd that led to something else before, or of an fd that led nowhere.
#[inline(always)]
fn later(key: &LedgerKey) -> Option<Found> {
    LEDGER.get_ptr_mut(key).map(|row| Found { row, tick: core::ptr::null_mut() })
}

/// Makes a row, in a scratch slot of the calling program. Whether it was made here; `false` when it was
/// there, or there is no room.
#[inline(always)]
pub(super) fn make(scratch: u32, key: &LedgerKey, file: Kptr, now: u64) -> bool {
    // What leads nowhere leaves the fd's place to what it leads to later.
    if !key.object.is_none() && make_by_fd(scratch, key, file, now) {
        return true;
    }
    if LEDGER.insert(key, fresh(), NOEXIST).is_err() {
        return false;
    }
    if let Some(found) = later(key) {
        // SAFETY: as in `apply`.
        unsafe { (*found.row).first_ns = now };
    }
    true
}

/// Built in scratch memory: too large for the stack.
#[inline(always)]
fn make_by_fd(scratch: u32, key: &LedgerKey, file: Kptr, now: u64) -> bool {
    let Some(record) = emit::start::<FdRow>(scratch, 0) else { return false };
    let fresh = &mut record.payload;
    fresh.key = *key;
    fresh.row.first_ns = now;
    if let Some(mark) = object::mark_of(file) {
        fresh.inode = mark;
    }
    // A pipe's books depend on what came before what.
    let is_queue = membership::value(&key.object).is_none_or(|value| value & watch::PASSES_ON != 0);
    fresh.tick = if is_queue { 0 } else { NO_TICK };
    let fresh: &FdRow = fresh;
    take_slot(fresh) || FD_ROWS.insert(FdKey::from(key), fresh, NOEXIST).is_ok()
}

/// Puts a row into its slot, unless another one has it.
#[inline(always)]
fn take_slot(fresh: &FdRow) -> bool {
    let slot = FdKey::from(&fresh.key).slot();
    if fresh.inode.address == 0 || TAKEN_SLOTS.insert(slot, 1, NOEXIST).is_err() {
        return false;
    }
    let Some(found) = ROW_SLOTS.get_ptr_mut(slot) else { return false };
    // SAFETY: points to a live map value, all zero, that nobody else writes to: the slot was not taken.
    // Whoever looks at it meanwhile finds no start in it, and nobody started then.
    unsafe {
        (*found).tick = fresh.tick;
        (*found).inode = fresh.inode;
        (*found).row.first_ns = fresh.row.first_ns;
        (*found).key.object = fresh.key.object;
        (*found).key.fd = fresh.key.fd;
        (*found).key.direction = fresh.key.direction;
        (*found).key.process.tgid = fresh.key.process.tgid;
        let start = &raw mut (*found).key.process.start_ns;
        core::ptr::write_volatile(start, fresh.key.process.start_ns);
    }
    true
}
