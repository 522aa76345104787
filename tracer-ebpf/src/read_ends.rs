//! The reading ends whose close is told. Once an fd is closed it no longer leads to what it was, so
//! the end is noted while it is open: when it is created, first read from, or found by the survey.

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    limits,
    loss::Reason,
    object::{EndKey, FdState, ObjectId, ReadEnd},
};

use crate::{
    constants::FILE_INODE,
    emit,
    fdlookup::file_of,
    kread::Kptr,
    loss as losses,
    maps::{READ_ENDS, slot},
    object,
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
    }
}

/// Takes back what [`remember`] noted.
#[inline(always)]
pub(crate) fn forget(process: &ProcessId, fd: i32) {
    let _ = READ_ENDS.remove(EndKey { tgid: process.tgid, fd });
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
    closed_range(call, fd as u32, fd as u32);
}

/// Every noted end from `first` to `last` was closed, as far as a bounded loop goes.
#[inline(always)]
pub(crate) fn closed_range(call: &Call, first: u32, last: u32) {
    let fds = u64::from(first) << 32 | u64::from(last);
    let ProcessId { tgid, start_ns, .. } = call.process;
    tell_closed(fds, u64::from(tgid), start_ns, u64::from(call.role));
}

/// Exported, so that the verifier checks its loop once; therefore it takes numbers only (`fds`: the
/// first above the last).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tell_closed(fds: u64, tgid: u64, start_ns: u64, role: u64) -> u64 {
    let (first, last) = ((fds >> 32) as u32, fds as u32);
    for offset in 0..limits::CLOSE_RANGE {
        let fd = first.wrapping_add(offset);
        if fd > last || fd > i32::MAX as u32 {
            break;
        }
        close_one(u64::from(fd), tgid, start_ns, role);
    }
    0
}

/// This fd was closed: tells of it where it was a noted end. Exported for the same reason.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn close_one(fd: u64, tgid: u64, start_ns: u64, role: u64) -> u64 {
    let process = ProcessId::new(tgid as u32, start_ns);
    let key = EndKey { tgid: process.tgid, fd: fd as i32 };
    // SAFETY: the map is created without preallocation, so the value is not recycled meanwhile.
    let Some(end) = (unsafe { READ_ENDS.get(key) }) else { return 0 };
    let (inode, of) = (end.inode, end.start_ns);
    let state = FdState { object: end.object, mode: 0, flags: 0 };
    let _ = READ_ENDS.remove(key);
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
    record.payload.comm = task::comm_of(task::current());
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
