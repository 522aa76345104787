//! The reading ends whose close is told. Once an fd is closed it no longer leads to what it was, so
//! the end is noted while it is open: when it is created, first read from, or found by the survey.
//!
//! Each process has a bitmap of its noted ends ([`tracer_common::process::ProcessEntry::read_ends`]), so that a call that closes many
//! fds at once (`execve`, `close_range`) looks at these alone. Ends of fds from [`HIGH_ENDS`] on share a bit;
//! a sweep finds those of them that were closed without a call that names them.

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    limits,
    loss::Reason,
    object::{EndKey, FdState, ObjectId, ReadEnd},
    process::HIGH_ENDS,
};

use crate::{
    constants::FILE_INODE,
    emit,
    fdlookup::file_of,
    kread::Kptr,
    loss as losses,
    maps::{READ_ENDS, slot},
    membership, object,
    syscalls::Call,
    task,
    task::FilesTable,
};

/// Notes a reading end.
#[inline(never)]
pub(crate) fn remember(process: &ProcessId, fd: i32, object: &ObjectId, file: Kptr) {
    let inode = file.follow(&FILE_INODE).unwrap_or(Kptr(0)).0;
    let end = ReadEnd { object: *object, inode, start_ns: process.start_ns };
    if READ_ENDS.insert(EndKey { tgid: process.tgid, fd }, end, 0).is_err() {
        losses::count(Reason::ReadEndsFull, 0);
        return;
    }
    if let Some(entry) = membership::entry(process.tgid) {
        // SAFETY: points to a live map value. A bit that a race with another thread loses is found by the sweep.
        unsafe { (*entry).read_ends |= 1 << bit_of(fd) };
    }
}

/// The bit of an fd in the bitmap of its process.
#[inline(always)]
fn bit_of(fd: i32) -> u32 {
    if (0..HIGH_ENDS as i32).contains(&fd) { fd as u32 } else { HIGH_ENDS }
}

/// Takes out an end, and its bit where no other fd shares it.
#[inline(always)]
fn take_out(key: EndKey) -> bool {
    if let Some(entry) = membership::entry(key.tgid)
        && bit_of(key.fd) != HIGH_ENDS
    {
        // SAFETY: as in `remember`.
        unsafe { (*entry).read_ends &= !(1 << bit_of(key.fd)) };
    }
    READ_ENDS.remove(key).is_ok()
}

/// Takes back what [`remember`] noted.
#[inline(always)]
pub(crate) fn forget(process: &ProcessId, fd: i32) {
    let key = EndKey { tgid: process.tgid, fd };
    // SAFETY: the map is created without preallocation, so the value is not recycled meanwhile.
    if unsafe { READ_ENDS.get(key) }.is_some_and(|end| end.start_ns == process.start_ns) {
        take_out(key);
    }
}

/// A target created a pipe or a pair of sockets: notes an end that can be read, and tells of it.
#[inline(never)]
pub(crate) fn created(call: &Call, fd: i32) {
    let files = FilesTable::Probed(task::current_files());
    let Some(file) = file_of(files, fd) else { return };
    let Some(state) = object::file_state(file) else { return };
    remember(&call.process, fd, &state.object, file);
    if let Some(record) = begin(kind::CREATED, &call.process, call.role, fd, state) {
        record.send(0);
    }
}

/// `fd` of the caller was closed, or means something new.
#[inline(always)]
pub(crate) fn closed(call: &Call, fd: i32) {
    close_one(packed(call.process.tgid, fd), call.process.start_ns, u64::from(call.role));
}

/// The caller closed every fd from `first` to `last`.
#[inline(always)]
pub(crate) fn closed_range(call: &Call, first: u32) {
    let ProcessId { tgid, start_ns, .. } = call.process;
    check_low_ends(u64::from(tgid), start_ns, u64::from(call.role));
    // SAFETY: the entry points to a live map value.
    let ends = call.entry.map_or(0, |entry| unsafe { (*entry.as_ptr()).read_ends });
    if ends >> HIGH_ENDS & 1 == 1 {
        check_high_ends(u64::from(tgid), start_ns, u64::from(call.role), u64::from(first));
    }
}

/// A process has a new image: the kernel has closed what was `O_CLOEXEC`.
#[inline(always)]
pub(crate) fn closed_by_exec(process: &ProcessId, role: u32) {
    check_low_ends(u64::from(process.tgid), process.start_ns, u64::from(role));
}

/// An fd of a process in one number.
#[inline(always)]
fn packed(tgid: u32, fd: i32) -> u64 {
    u64::from(tgid) << 32 | u64::from(fd as u32)
}

#[inline(always)]
fn unpacked(packed: u64) -> EndKey {
    EndKey { tgid: (packed >> 32) as u32, fd: packed as i32 }
}

/// Tells of each end with a bit of its own that is no longer open. Exported, so that the verifier checks its
/// loop once; therefore it takes numbers only, like those below.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn check_low_ends(tgid: u64, start_ns: u64, role: u64) -> u64 {
    let Some(entry) = membership::entry(tgid as u32) else { return 0 };
    // SAFETY: points to a live map value.
    let ends = unsafe { (*entry).read_ends };
    if ends == 0 {
        return 0;
    }
    for fd in 0..HIGH_ENDS {
        if ends >> fd & 1 == 1 {
            check_end(packed(tgid as u32, fd as i32), start_ns, role, task::current_files().0);
        }
    }
    0
}

/// As [`check_low_ends`], for the first fds of a range that share a bit.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn check_high_ends(tgid: u64, start_ns: u64, role: u64, first: u64) -> u64 {
    let first = if first > u64::from(HIGH_ENDS) { first as u32 } else { HIGH_ENDS };
    for offset in 0..limits::CLOSE_RANGE {
        let fd = first.wrapping_add(offset) as i32;
        check_end(packed(tgid as u32, fd), start_ns, role, task::current_files().0);
    }
    0
}

/// Tells of a noted end that is no longer open, and takes it out. 1 when the end is out of the table.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn check_end(who: u64, start_ns: u64, role: u64, files: u64) -> u64 {
    let key = unpacked(who);
    // SAFETY: the map is created without preallocation, so the value is not recycled meanwhile.
    let Some(end) = (unsafe { READ_ENDS.get(key) }) else { return 1 };
    let (noted, of) = (end.inode, end.start_ns);
    // An end of a process that has the same pid.
    if of != start_ns {
        return 1;
    }
    let file = file_of(FilesTable::Probed(Kptr(files)), key.fd);
    let inode = file.and_then(|file| file.follow(&FILE_INODE)).unwrap_or(Kptr(0)).0;
    if inode == noted {
        return 0;
    }
    close_one(who, start_ns, role);
    1
}

/// This fd was closed: tells of it where it was a noted end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn close_one(who: u64, start_ns: u64, role: u64) -> u64 {
    let key = unpacked(who);
    let process = ProcessId::new(key.tgid, start_ns);
    // SAFETY: as in `check_end`.
    let Some(end) = (unsafe { READ_ENDS.get(key) }) else { return 0 };
    let (inode, of) = (end.inode, end.start_ns);
    let state = FdState { object: end.object, mode: 0, flags: 0 };
    take_out(key);
    if of == start_ns
        && let Some(record) = begin(kind::CLOSED, &process, role as u32, key.fd, state)
    {
        describe_closed(inode, state.object.ino);
        record.send(0);
    }
    0
}

#[inline(always)]
fn begin(
    kind: u32,
    process: &ProcessId,
    role: u32,
    fd: i32,
    state: FdState,
) -> Option<&'static mut emit::Record<event::Holder>> {
    let record = emit::start::<event::Holder>(slot::READ_END, kind)?;
    record.payload.process = *process;
    record.payload.state = state;
    record.payload.fd = fd;
    record.payload.role = role;
    if process.tgid == task::current_tgid() {
        record.payload.comm = task::comm_of(task::current());
    }
    Some(record)
}

/// Reads the pipe behind a closed end into this program's slot. Exported, so that the verifier checks
/// its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe_closed(inode: u64, ino: u64) -> u64 {
    if let Some(record) = emit::resume::<event::Holder>(slot::READ_END) {
        record.payload.pipe = object::pipe_at(Kptr(inode), ino);
    }
    0
}
