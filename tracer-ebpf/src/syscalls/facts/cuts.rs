//! Calls that take bytes away from a file, or change them: by any process, in the target or not.

use tracer_common::{
    event::{cut, fact},
    limits,
    process::{CUTS_SHIFT, ProcessEntry},
};

use super::{send_with_name, start};
use crate::{
    kernel::{
        atomic::add32,
        fdlookup::file_of,
        task::{self, FilesTable},
        usermem,
    },
    object,
    syscalls::{Call, table, witness},
    targets::{membership, watches},
};

/// Modes of `fallocate(2)` that change what is in the file: `PUNCH_HOLE`, `COLLAPSE_RANGE`, `ZERO_RANGE` and `INSERT_RANGE`
/// (`include/uapi/linux/falloc.h`).
const CHANGES: u32 = 0x02 | 0x08 | 0x10 | 0x20;

/// Whether calls of this class can cut a file.
#[inline(always)]
pub(super) fn may_cut(class: u32) -> bool {
    matches!(
        class,
        table::OPEN
            | table::OPENAT
            | table::OPENAT2
            | table::CREAT
            | table::FTRUNCATE
            | table::FALLOCATE
    )
}

/// Reports a process that cut a watched file or changed what is in it. Exported, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn cut_of_call() -> u64 {
    if let Some(call) = Call::current()
        && call.result >= 0
        && is_cut(&call)
    {
        report(&call);
    }
    0
}

/// Whether the current call cuts its file if it is a file.
#[inline(always)]
fn is_cut(call: &Call) -> bool {
    let flags = match call.class {
        table::OPEN => call.args.get::<1>(),
        table::OPENAT => call.args.get::<2>(),
        // `struct open_how` begins with the flags (openat2(2)).
        table::OPENAT2 => usermem::read(call.args.get::<2>()).unwrap_or(table::O_TRUNC),
        table::FALLOCATE => return call.args.int::<1>() & CHANGES != 0,
        _ => return true,
    };
    flags & table::O_TRUNC != 0
}

#[inline(always)]
fn report(call: &Call) {
    let is_by_fd = matches!(call.class, table::FTRUNCATE | table::FALLOCATE);
    let fd = if is_by_fd { call.args.fd::<0>() } else { call.result as i32 };
    let files = FilesTable::Probed(task::current_files());
    let Some(file) = file_of(files, fd) else { return };
    let Some(inode) = object::inode_noinline(file) else { return };
    let Some(id) = object::id_of(file) else { return };
    if !object::is_file(&inode) || !watches::is_watched(&id) {
        return;
    }
    let is_empty = object::file_size(&inode) == 0;
    let kind = match call.class {
        table::FALLOCATE => cut::INSIDE,
        table::FTRUNCATE if !is_empty && !empties(call) => cut::SHORTENED,
        // What is in it was written since.
        _ => cut::EMPTIED,
    };
    let Some(process) = task::process_of(task::current()) else { return };
    membership::follow_participant(&process, task::current());
    let call = Call { process, ..*call };
    let Some(entry) = membership::entry(process.tgid) else { return };
    let kind = if count(entry) { kind } else { cut::OFTEN };
    if kind == cut::OFTEN && !watches::mark_cut_often(&id) {
        return;
    }
    if let Some(record) = start(&call, fact::FILE_CUT, fd) {
        record.payload.state.object = id;
        record.payload.detail = kind;
        send_with_name(record);
    }
}

/// Counts a cut against the limit of the process, which other facts do not use up: a verdict rests on it. Returns `false`
/// if the limit is reached.
#[inline(always)]
fn count(entry: *mut ProcessEntry) -> bool {
    // SAFETY: the entry points to a live map value.
    let is_below = unsafe { (*entry).facts } >> CUTS_SHIFT < limits::CUTS_PER_PROCESS;
    if is_below {
        // SAFETY: as above.
        unsafe { add32(&raw mut (*entry).facts, 1 << CUTS_SHIFT) };
    }
    is_below
}

/// Whether this `ftruncate(2)` cut the file to nothing. A seccomp filter can say so of a call that never ran.
#[inline(always)]
fn empties(call: &Call) -> bool {
    !call.args.compat && call.args.get::<1>() == 0 && !witness::has_filter()
}
