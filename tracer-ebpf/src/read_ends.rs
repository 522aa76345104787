//! Registers read ends and reports their close. A closed fd no longer leads to its object. Therefore a read end is
//! registered while it is open: when it is created, at the first read, or when the survey finds it.
//!
//! Each process has a bitmap of its registered read ends
//! ([`tracer_common::process::ProcessEntry::read_ends`]). A call that closes many fds at once (`execve`,
//! `close_range`) checks only these. Read ends of fds from [`HIGH_ENDS`] on share a bit; if such a call closes one
//! that is not checked, a sweep finds it.

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    limits,
    loss::Reason,
    object::{EndKey, FdState, ObjectId, ReadEnd},
    process::HIGH_ENDS,
};

use crate::{
    events::{emit, loss as losses},
    kernel::{
        constants::FILE_INODE,
        fdlookup::file_of,
        kread::Kptr,
        task::{self, FilesTable},
    },
    maps::{READ_ENDS, slot},
    object,
    targets::membership,
};

/// Registers a read end.
#[inline(never)]
pub(crate) fn register(process: &ProcessId, fd: i32, object: &ObjectId, file: Kptr) {
    let inode = file.follow(&FILE_INODE).unwrap_or(Kptr(0)).0;
    let end =
        ReadEnd { object: *object, inode, file: file.0, is_closed: 0, start_ns: process.start_ns };
    if READ_ENDS.insert(EndKey { tgid: process.tgid, fd }, end, 0).is_err() {
        losses::count(Reason::ReadEndsFull, 0);
        return;
    }
    if let Some(entry) = membership::entry(process.tgid) {
        // SAFETY: points to a live map value. If a race with another thread loses a bit, the
        // sweep still finds the read end.
        unsafe { (*entry).read_ends |= 1 << bit_of(fd) };
    }
}

/// The bit of an fd in the bitmap of its process.
#[inline(always)]
fn bit_of(fd: i32) -> u32 {
    if (0..HIGH_ENDS as i32).contains(&fd) { fd as u32 } else { HIGH_ENDS }
}

/// Removes a read end, and its bit if no other fd shares it.
#[inline(always)]
fn remove(key: EndKey) {
    remove_bit(key);
    let _ = READ_ENDS.remove(key);
}

#[inline(always)]
fn remove_bit(key: EndKey) {
    if let Some(entry) = membership::entry(key.tgid)
        && bit_of(key.fd) != HIGH_ENDS
    {
        // SAFETY: as in `register`.
        unsafe { (*entry).read_ends &= !(1 << bit_of(key.fd)) };
    }
}

/// Removes what [`register`] inserted.
#[inline(always)]
pub(crate) fn forget(process: &ProcessId, fd: i32) {
    let key = EndKey { tgid: process.tgid, fd };
    // SAFETY: the map is created without preallocation, so the value is not reused while it is read.
    if unsafe { READ_ENDS.get(key) }.is_some_and(|end| end.start_ns == process.start_ns) {
        remove(key);
    }
}

/// Finds the object of a read end that the process has closed, for a read that returns later. Returns `false` after
/// the next use of the fd number.
#[inline(always)]
pub(crate) fn closed_object(process: &ProcessId, fd: i32, object: &mut ObjectId) -> bool {
    // SAFETY: as in `forget`.
    let Some(end) = (unsafe { READ_ENDS.get(EndKey { tgid: process.tgid, fd }) }) else {
        return false;
    };
    if end.is_closed == 0 || end.start_ns != process.start_ns {
        return false;
    }
    *object = end.object;
    true
}

/// Whether this fd is a read end, or was one whose file is still in use.
#[inline(always)]
pub(crate) fn is_known(tgid: u32, fd: i32) -> bool {
    READ_ENDS.get_ptr(EndKey { tgid, fd }).is_some()
}

/// Removes the read end of a closed fd. If another thread may be in a read from it, the entry stays as a closed one.
/// Exported, so that its stack frame is free again before the close is reported.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn end_entry(tgid_and_fd: u64, is_first: u64) -> u64 {
    let key = EndKey::from_packed(tgid_and_fd);
    remove_bit(key);
    let has_others = || key.tgid != task::current_tgid() || !task::is_single_threaded();
    if is_first == 1
        && let Some(end) = READ_ENDS.get_ptr_mut(key)
    {
        // SAFETY: points to a live map value.
        let (file, inode) = unsafe { (Kptr((*end).file), (*end).inode) };
        if has_others() && object::is_in_use(file, inode) {
            // SAFETY: as above.
            unsafe { (*end).is_closed = 1 };
            return 0;
        }
    }
    let _ = READ_ENDS.remove(key);
    0
}

/// Registers a read end of a pipe or socket pair that a target created, and reports it.
#[inline(never)]
pub(crate) fn created(process: &ProcessId, role: u32, fd: i32) {
    let files = FilesTable::Probed(task::current_files());
    let Some(file) = file_of(files, fd) else { return };
    let Some(state) = object::file_state(file) else { return };
    register(process, fd, &state.object, file);
    if let Some(record) = begin(slot::READ_END, kind::CREATED, process, role, fd, state) {
        record.send(0);
    }
}

/// The caller made `copy` lead to what `fd` leads to: what `copy` led to before is closed, and a copy of a read end is one
/// itself. `dup2(fd, fd)` changes nothing.
#[inline(always)]
pub(crate) fn copied(process: &ProcessId, role: u32, fd: i32, copy: i32) {
    if fd == copy {
        return;
    }
    closed(process, role, copy);
    // SAFETY: as in `forget`.
    let end = unsafe { READ_ENDS.get(EndKey { tgid: process.tgid, fd }) };
    if end.is_some_and(|end| end.is_closed == 0 && end.start_ns == process.start_ns) {
        created(process, role, copy);
    }
}

/// Reports the read end of an fd that the caller closed or replaced.
#[inline(always)]
pub(crate) fn closed(process: &ProcessId, role: u32, fd: i32) {
    let key = EndKey { tgid: process.tgid, fd };
    close_one(key.packed(), process.start_ns, u64::from(role));
}

/// Reports each read end that a call closed without naming it (`close_range`; `execve`, if it was `O_CLOEXEC`): those
/// with a bit of their own, and the others among the next 1,024 fds from `first`.
#[inline(always)]
pub(crate) fn check_ends(process: &ProcessId, role: u32, first: u32) {
    let (tgid, role) = (u64::from(process.tgid), u64::from(role));
    check_low_ends(tgid, process.start_ns, role);
    let Some(entry) = membership::entry(process.tgid) else { return };
    // SAFETY: the entry points to a live map value.
    if unsafe { (*entry).read_ends } >> HIGH_ENDS & 1 == 0 {
        return;
    }
    let first = if first > HIGH_ENDS { first } else { HIGH_ENDS };
    for block in 0..limits::CLOSE_RANGE_BLOCKS {
        let first = first.wrapping_add(block * limits::CLOSE_RANGE);
        check_high_ends(tgid, process.start_ns, role, u64::from(first));
    }
}

/// Reports each read end with its own bit whose fd is closed. Exported, like those below, so that the verifier
/// checks its loop once. Therefore it takes integers only.
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
            let key = EndKey { tgid: tgid as u32, fd: fd as i32 };
            check_end(key.packed(), start_ns, role, task::current_files().0);
        }
    }
    0
}

/// As [`check_low_ends`], for [`limits::CLOSE_RANGE`] fds that share a bit.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn check_high_ends(tgid: u64, start_ns: u64, role: u64, first: u64) -> u64 {
    for offset in 0..limits::CLOSE_RANGE {
        let key = EndKey { tgid: tgid as u32, fd: (first as u32).wrapping_add(offset) as i32 };
        check_end(key.packed(), start_ns, role, task::current_files().0);
    }
    0
}

/// Reports and removes a registered read end if its fd is closed. Returns 1 if it is not in the table any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn check_end(tgid_and_fd: u64, start_ns: u64, role: u64, files: u64) -> u64 {
    let key = EndKey::from_packed(tgid_and_fd);
    // SAFETY: the map is created without preallocation, so the value is not reused while it is read.
    let Some(end) = (unsafe { READ_ENDS.get(key) }) else { return 1 };
    let (registered, owner_start) = (end.inode, end.start_ns);
    // The read end belongs to an earlier process with the same pid.
    if owner_start != start_ns {
        return 1;
    }
    let file = file_of(FilesTable::Probed(Kptr(files)), key.fd);
    if end.is_closed == 1 && file.is_none() && object::is_in_use(Kptr(end.file), registered) {
        return 0;
    }
    let inode = file.and_then(|file| file.follow(&FILE_INODE)).unwrap_or(Kptr(0)).0;
    if inode == registered {
        return 0;
    }
    close_one(tgid_and_fd, start_ns, role);
    1
}

/// Reports a closed fd if it was a registered read end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn close_one(tgid_and_fd: u64, start_ns: u64, role: u64) -> u64 {
    let key = EndKey::from_packed(tgid_and_fd);
    let process = ProcessId::new(key.tgid, start_ns);
    // SAFETY: as in `check_end`.
    let Some(end) = (unsafe { READ_ENDS.get(key) }) else { return 0 };
    let (inode, owner_start) = (end.inode, end.start_ns);
    let state = FdState { object: end.object, mode: 0, flags: 0 };
    // If it is closed already, the fd number was used again since, and nothing is known about that use.
    let is_first = owner_start == start_ns && end.is_closed == 0;
    end_entry(tgid_and_fd, u64::from(is_first));
    if is_first
        && let Some(record) =
            begin(slot::READ_END, kind::CLOSED, &process, role as u32, key.fd, state)
    {
        describe_closed(inode, state.object.ino);
        record.payload.incoming = object::incoming_at(Kptr(inode), state.object.ino);
        record.send(0);
    }
    0
}

/// Reports each read end with its own bit that a process holds at its end, with the bytes that nobody has read from
/// it: when the program runs, the fds are still open.
#[inline(always)]
pub(crate) fn left(process: &ProcessId, role: u32, files: Kptr) {
    leave_ends(u64::from(process.tgid), process.start_ns, u64::from(role), files.0);
}

/// Loop of [`left`]. Exported, so that the verifier checks it once. Therefore it takes integers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn leave_ends(tgid: u64, start_ns: u64, role: u64, files: u64) -> u64 {
    let Some(entry) = membership::entry(tgid as u32) else { return 0 };
    // SAFETY: points to a live map value.
    let ends = unsafe { (*entry).read_ends };
    if ends == 0 {
        return 0;
    }
    for fd in 0..HIGH_ENDS {
        if ends >> fd & 1 == 1 {
            leave_one(EndKey { tgid: tgid as u32, fd: fd as i32 }.packed(), start_ns, role, files);
        }
    }
    0
}

/// Reports an open fd if it is a registered read end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn leave_one(tgid_and_fd: u64, start_ns: u64, role: u64, files: u64) -> u64 {
    let _ = leave(EndKey::from_packed(tgid_and_fd), start_ns, role as u32, Kptr(files));
    0
}

#[inline(always)]
fn leave(key: EndKey, start_ns: u64, role: u32, files: Kptr) -> Option<()> {
    // SAFETY: as in `check_end`.
    let end = unsafe { READ_ENDS.get(key) }?;
    let (registered, owner_start) = (end.inode, end.start_ns);
    let file = file_of(FilesTable::Probed(files), key.fd)?;
    if owner_start != start_ns || file.follow(&FILE_INODE)?.0 != registered {
        return None;
    }
    let state = object::file_state(file)?;
    let process = ProcessId::new(key.tgid, start_ns);
    let record = begin(slot::EXIT, kind::LEFT, &process, role, key.fd, state)?;
    let inode = object::inode_noinline(file)?;
    record.payload.queue = object::written(file, &inode);
    record.payload.incoming = object::incoming(file, &inode);
    record.send(0);
    Some(())
}

#[inline(always)]
fn begin(
    slot: u32,
    kind: u32,
    process: &ProcessId,
    role: u32,
    fd: i32,
    state: FdState,
) -> Option<&'static mut emit::Record<event::Holder>> {
    let record = emit::start::<event::Holder>(slot, kind)?;
    record.payload.process = *process;
    record.payload.state = state;
    record.payload.fd = fd;
    record.payload.role = role;
    if process.tgid == task::current_tgid() {
        record.payload.comm = task::comm_of(task::current());
    }
    Some(record)
}

/// Reads the state of the pipe of a closed read end into the record. Exported, so that the verifier checks its
/// loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe_closed(inode: u64, ino: u64) -> u64 {
    if let Some(record) = emit::resume::<event::Holder>(slot::READ_END) {
        record.payload.queue = object::pipe_at(Kptr(inode), ino);
    }
    0
}
