//! The three places of rows: a direct-mapped slot, the map by process and fd, and the map by full key.

use tracer_common::{
    id::ProcessId,
    ledger::{FdKey, FdRow, InodeFingerprint, LedgerKey, LedgerRow, NO_TICK, READ, WRITE},
    object::watch,
};

use crate::{
    events::emit,
    kernel::kread::Kptr,
    maps::{FD_ROWS, LEDGER, ROW_SLOTS, TAKEN_SLOTS},
    object,
    targets::{membership::NOEXIST, watches},
};

/// A new row. It is in `.rodata`, because all stack frames together have 512 bytes.
static FRESH: LedgerRow = LedgerRow::ZERO;

#[inline(always)]
fn fresh() -> &'static LedgerRow {
    &FRESH
}

/// A row that was found in a map.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// The counters.
    pub(crate) row: *mut LedgerRow,
    /// [`FdRow::tick`], or NULL.
    pub(super) tick: *mut u64,
}

impl Found {
    /// # Safety
    /// `found` must point to a live map value.
    #[inline(always)]
    unsafe fn at(found: *mut FdRow) -> Self {
        // SAFETY: the caller's contract.
        unsafe { Self { row: &raw mut (*found).row, tick: &raw mut (*found).tick } }
    }
}

/// The row of a key.
#[inline(always)]
pub(crate) fn find(key: &LedgerKey) -> Option<Found> {
    by_fd(key).or_else(|| by_full_key(key))
}

/// The row of an fd, if it belongs to this process and object.
#[inline(always)]
fn by_fd(key: &LedgerKey) -> Option<Found> {
    let short = FdKey::from(key);
    let matches = |found: *const FdRow| {
        // SAFETY: points to a live map value. A key is written once, the start time last.
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
    by_slot(short, matches).or_else(|| by_fd_key(short, matches))
}

/// The row of an fd, if it belongs to this process and inode.
#[inline(always)]
pub(crate) fn by_inode(
    short: FdKey,
    process: &ProcessId,
    inode: &InodeFingerprint,
) -> Option<Found> {
    let matches = |found: *const FdRow| {
        // SAFETY: as in `by_fd`.
        unsafe {
            let fingerprint = &raw const (*found).inode;
            let key = &raw const (*found).key;
            (*fingerprint).address == inode.address
                && (*fingerprint).number == inode.number
                && (*fingerprint).file_system == inode.file_system
                && (*fingerprint).generation == inode.generation
                && (*key).process.start_ns == process.start_ns
                && (*key).process.tgid == process.tgid
                && FdKey::new(process.tgid, (*key).fd, (*key).direction).fd_and_direction
                    == short.fd_and_direction
        }
    };
    by_slot(short, matches).or_else(|| by_fd_key(short, matches))
}

/// Whether a process has written through an fd, as far as its rows are known.
#[inline(always)]
pub(crate) fn is_written(tgid: u32, fd: i32) -> bool {
    let short = FdKey::new(tgid, fd, WRITE);
    let is_row = |row: *mut FdRow| {
        // SAFETY: points to a live map value.
        let key = unsafe { &raw const (*row).key };
        // SAFETY: as above.
        unsafe { FdKey::new((*key).process.tgid, (*key).fd, (*key).direction) == short }
    };
    ROW_SLOTS.get_ptr_mut(short.slot()).is_some_and(is_row) || FD_ROWS.get_ptr(short).is_some()
}

/// The rows of an fd do not belong to their inode any more, if that identifies no file ([`object::number_file`]).
/// Exported, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn forget_inodes(tgid: u64, fd: u64) -> u64 {
    for direction in [READ, WRITE] {
        let short = FdKey::new(tgid as u32, fd as i32, direction);
        if let Some(row) = ROW_SLOTS.get_ptr_mut(short.slot()) {
            forget_inode(row, short);
        }
        if let Some(row) = FD_ROWS.get_ptr_mut(short) {
            forget_inode(row, short);
        }
    }
    0
}

#[inline(always)]
fn forget_inode(row: *mut FdRow, short: FdKey) {
    // SAFETY: points to a live map value; the address is one aligned store.
    unsafe {
        let key = &raw const (*row).key;
        let (number, generation) = ((*key).object.discriminator, (*row).inode.generation);
        let found = FdKey::new((*key).process.tgid, (*key).fd, (*key).direction);
        if found == short && number != 0 && u64::from(number) != generation {
            (*row).inode.address = 0;
        }
    }
}

#[inline(always)]
fn by_slot(short: FdKey, matches: impl Fn(*const FdRow) -> bool) -> Option<Found> {
    let found: *mut FdRow = ROW_SLOTS.get_ptr_mut(short.slot())?;
    // SAFETY: points to a live map value.
    matches(found).then(|| unsafe { Found::at(found) })
}

#[inline(always)]
fn by_fd_key(short: FdKey, matches: impl Fn(*const FdRow) -> bool) -> Option<Found> {
    let found: *mut FdRow = FD_ROWS.get_ptr_mut(short)?;
    // SAFETY: points to a live map value.
    matches(found).then(|| unsafe { Found::at(found) })
}

/// The row of an fd that pointed to another object before, or of an fd that was not open.
#[inline(always)]
fn by_full_key(key: &LedgerKey) -> Option<Found> {
    LEDGER.get_ptr_mut(key).map(|row| Found { row, tick: core::ptr::null_mut() })
}

/// Creates a row. `scratch` is a scratch slot of the calling program. Returns `false` if the row exists or the
/// maps are full.
#[inline(always)]
pub(super) fn create(scratch: u32, key: &LedgerKey, file: Kptr, now: u64) -> bool {
    // An fd that is not open does not use the place by fd: the next object of this fd gets it.
    if !key.object.is_none() && create_by_fd(scratch, key, file, now) {
        return true;
    }
    if LEDGER.insert(key, fresh(), NOEXIST).is_err() {
        return false;
    }
    if let Some(found) = by_full_key(key) {
        // SAFETY: as in `apply`.
        unsafe { (*found.row).first_ns = now };
    }
    true
}

/// Creates a row in its slot or under its fd. It is built in scratch memory, because it is too large for the
/// stack.
#[inline(always)]
fn create_by_fd(scratch: u32, key: &LedgerKey, file: Kptr, now: u64) -> bool {
    let Some(record) = emit::start::<FdRow>(scratch, 0) else { return false };
    let fresh = &mut record.payload;
    fresh.key = *key;
    fresh.row.first_ns = now;
    if let Some(fingerprint) = object::fingerprint_of(file) {
        fresh.inode = fingerprint;
    }
    let is_ordered = watches::value(&key.object).is_none_or(|value| value & watch::ORDERED != 0);
    fresh.tick = if is_ordered { 0 } else { NO_TICK };
    let fresh: &FdRow = fresh;
    take_slot(fresh) || FD_ROWS.insert(FdKey::from(key), fresh, NOEXIST).is_ok()
}

/// Claims the direct-mapped slot if it is free.
#[inline(always)]
fn take_slot(fresh: &FdRow) -> bool {
    let slot = FdKey::from(&fresh.key).slot();
    if fresh.inode.address == 0 || TAKEN_SLOTS.insert(slot, 1, NOEXIST).is_err() {
        return false;
    }
    let Some(found) = ROW_SLOTS.get_ptr_mut(slot) else { return false };
    // SAFETY: points to a live map value, all zero. Only this program writes to it, because it claimed the
    // slot. Concurrent readers do not match it until the start time, which is written last, is not 0.
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
