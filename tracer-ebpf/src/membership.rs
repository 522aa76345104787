//! Followed processes and watched objects.

use aya_ebpf::maps::Array;
use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    loss::Reason,
    object::{
        ANON_INODE_FS_MAGIC, NULL_RDEV, ObjectId, PTY_MASTER_MAJOR, Watch, inode_filter_slot, mode,
        watch,
    },
    process::{ProcessEntry, ROLE_PARTICIPANT, ROLE_TARGET, mark, tgid_filter_slot},
};

use crate::{
    atomic::{MINUS_ONE, add},
    capture,
    constants::TASK_GROUP_LEADER,
    emit, fdlookup,
    kread::Kptr,
    loss as losses,
    maps::{INODE_FILTER, OBJECTS, OWN_TGID, PROCESSES, TGID_FILTER},
    object,
    syscalls::io,
    task::{self, FilesTable},
};

/// `BPF_NOEXIST` and `BPF_EXIST`, `include/uapi/linux/bpf.h`.
pub(crate) const NOEXIST: u64 = 1;
const EXIST: u64 = 2;
/// `-EEXIST`.
pub(crate) const EXISTS: i32 = -17;

/// The entry of a followed process.
#[inline(always)]
pub(crate) fn entry(tgid: u32) -> Option<*mut ProcessEntry> {
    PROCESSES.get_ptr_mut(tgid)
}

/// The role and identity in an entry.
#[inline(always)]
pub(crate) fn read(tgid: u32, entry: *mut ProcessEntry) -> (ProcessId, u32) {
    // SAFETY: the pointer comes from the map and is not NULL; both fields are plain integers.
    unsafe { (ProcessId::new(tgid, (*entry).start_ns), (*entry).role) }
}

/// Negative filter: `false` means that the process is certainly not followed.
#[inline(always)]
pub(crate) fn may_be_followed(tgid: u32) -> bool {
    is_nonzero(&TGID_FILTER, tgid_filter_slot(tgid))
}

/// Negative filter: `false` means that the fd certainly does not point to an object on which all processes count.
#[inline(always)]
pub(crate) fn may_lead_to_watched(files: FilesTable, fd: i32) -> bool {
    fdlookup::file_of(files, fd).is_some_and(may_be_watched)
}

/// As [`may_lead_to_watched`], for an open file.
#[inline(always)]
pub(crate) fn may_be_watched(file: Kptr) -> bool {
    object::number_of(file).is_some_and(|ino| is_nonzero(&INODE_FILTER, inode_filter_slot(ino)))
}

#[inline(always)]
fn is_nonzero(slots: &'static Array<u64>, slot: u32) -> bool {
    slots.get(slot).is_some_and(|entries| *entries != 0)
}

/// Increments a filter slot, before the insertion of an entry into its map.
#[inline(always)]
fn increment(slots: &'static Array<u64>, slot: u32) {
    if let Some(entries) = slots.get_ptr_mut(slot) {
        // SAFETY: points to a live map value.
        unsafe { add(entries, 1) };
    }
}

/// Decrements a filter slot, after the removal of an entry from its map.
#[inline(always)]
fn decrement(slots: &'static Array<u64>, slot: u32) {
    if let Some(entries) = slots.get_ptr_mut(slot) {
        // SAFETY: points to a live map value.
        unsafe { add(entries, MINUS_ONE) };
    }
}

/// Starts to follow the process of `task`. Returns `false` if it was already followed in this role, or if the
/// table is full. With `ROLE_TARGET`, a participant becomes a target.
#[inline(always)]
pub(crate) fn follow(process: ProcessId, role: u32, task: Kptr) -> bool {
    let slot = tgid_filter_slot(process.tgid);
    increment(&TGID_FILTER, slot);
    let entry = ProcessEntry { start_ns: process.start_ns, role, ..ProcessEntry::default() };
    let error = match PROCESSES.insert(process.tgid, entry, NOEXIST) {
        Ok(()) => {
            store_leader(process.tgid, task);
            return true;
        }
        Err(error) => error,
    };
    decrement(&TGID_FILTER, slot);
    if error == EXISTS {
        return replace_ended(&process, role, task) || role == ROLE_TARGET && promote(process.tgid);
    }
    losses::count(Reason::ProcessesFull, 0);
    false
}

/// Removes the entry of a process that has ended. Returns whether it had one.
#[inline(always)]
pub(crate) fn forget(tgid: u32) -> bool {
    let is_out = PROCESSES.remove(tgid).is_ok();
    if is_out {
        decrement(&TGID_FILTER, tgid_filter_slot(tgid));
    }
    is_out
}

/// Stores the address of a process's leader ([`ProcessEntry::task`]), and whether another process has the same memory.
/// `task` is a thread of the process.
#[inline(always)]
pub(crate) fn store_leader(tgid: u32, task: Kptr) {
    if let Some(entry) = entry(tgid) {
        let leader = task.follow(&TASK_GROUP_LEADER).unwrap_or(Kptr(0));
        // SAFETY: the pointer comes from the map and is not NULL; the field is a plain integer.
        unsafe { (*entry).task = leader.0 };
        if task::has_other_memory_users(task) {
            mark(entry, mark::SHARES_MEMORY);
        }
    }
}

/// Sets a bit of [`ProcessEntry::marks`]; whether it was not set yet.
#[inline(always)]
pub(crate) fn mark(entry: *mut ProcessEntry, bit: u32) -> bool {
    // SAFETY: the entry points to a live map value; a race causes at most a duplicate event.
    unsafe {
        let is_first = (*entry).marks & bit == 0;
        (*entry).marks |= bit;
        is_first
    }
}

/// Replaces the entry of an ended process with the same tgid, whose exit event was missed. Returns `false` if the
/// entry belongs to this process. Works in place, because the stack has no room for another entry.
#[inline(always)]
fn replace_ended(process: &ProcessId, role: u32, task: Kptr) -> bool {
    let Some(entry) = entry(process.tgid) else { return false };
    // SAFETY: the pointer comes from the map and is not NULL; all fields are plain integers.
    unsafe {
        let known = (*entry).start_ns;
        if known == 0 || known == process.start_ns {
            return false;
        }
        (*entry).start_ns = process.start_ns;
        (*entry).role = role;
        ((*entry).facts, (*entry).marks, (*entry).hop) = (0, 0, 0);
        ((*entry).other_bytes, (*entry).other_calls, (*entry).written) = (0, 0, 0);
        (*entry).read_ends = 0;
        ((*entry).other_failed, (*entry).other_errno) = (0, 0);
    }
    store_leader(process.tgid, task);
    true
}

/// Makes a participant a target. Returns `false` if it is one already.
#[inline(always)]
fn promote(tgid: u32) -> bool {
    let Some(entry) = entry(tgid) else { return false };
    // SAFETY: the pointer comes from the map and is not NULL; the field is a plain integer.
    unsafe {
        if (*entry).role == ROLE_TARGET {
            return false;
        }
        (*entry).role = ROLE_TARGET;
    }
    true
}

/// Makes a process that used a watched object a participant, unless it is followed already.
#[inline(never)]
pub(crate) fn follow_participant(process: &ProcessId, task: Kptr) {
    if PROCESSES.get_ptr(process.tgid).is_none() {
        follow(*process, ROLE_PARTICIPANT, task);
    }
}

/// Whether a process is tracer itself.
#[inline(always)]
pub(crate) fn is_tracer(tgid: u32) -> bool {
    OWN_TGID.get(0).is_some_and(|own| *own == tgid)
}

/// Makes a process a relay with this hop, because it read output of the target: from now on, all its writes
/// count. Returns `false` if it already was a relay with this or a smaller hop.
#[inline(never)]
pub(crate) fn follow_output(tgid: u32, hop: u32) -> bool {
    if is_tracer(tgid) {
        return false;
    }
    let Some(entry) = entry(tgid) else { return false };
    // SAFETY: the pointer comes from the map and is not NULL; the field is a plain integer.
    unsafe {
        if (*entry).hop != 0 && (*entry).hop <= hop {
            return false;
        }
        (*entry).hop = hop;
    }
    true
}

/// Flags and hop of a watched object ([`mod@watch`]); `None` if it is not watched.
#[inline(always)]
pub(crate) fn value(id: &ObjectId) -> Option<u32> {
    // SAFETY: the map is created without preallocation, so the value is not reused while an RCU
    // reader looks at it.
    unsafe { OBJECTS.get(id) }.map(|watch| watch.value)
}

/// Whether transfers of all processes count on this object, not only those of targets.
#[inline(always)]
pub(crate) fn is_shared_watch(id: &ObjectId) -> bool {
    value(id).is_some_and(|value| value & watch::ALL_PROCESSES != 0)
}

/// Whether the object is watched.
#[inline(always)]
pub(crate) fn is_watched(id: &ObjectId) -> bool {
    OBJECTS.get_ptr(id).is_some()
}

/// Marks an object to which the target writes output, so that writes to it are captured.
#[inline(always)]
pub(crate) fn mark_output(id: &ObjectId) {
    if !capture::is_on() {
        return;
    }
    if let Some(known) = OBJECTS.get_ptr_mut(id) {
        // SAFETY: the map returned a valid, aligned pointer; all concurrent writers set the same flag.
        unsafe { (*known).value |= watch::OUTPUT };
    }
}

/// How an object was seen.
#[derive(Clone, Copy)]
pub(crate) struct Sighting {
    /// The process that uses it.
    pub(crate) process: ProcessId,
    /// The object.
    pub(crate) id: ObjectId,
    /// The fd; -1 for the peer of another object.
    pub(crate) fd: i32,
    /// Scratch slot of the calling program.
    pub(crate) slot: u32,
    /// The hop of the object.
    pub(crate) hop: u32,
    /// Bytes of the write through which it was seen.
    pub(crate) in_flight: u64,
    /// Bytes of the read through which it was seen.
    pub(crate) taken: u64,
}

/// Watches an object and its peer, and sends an event for each: at the first sighting, at a sighting with a smaller hop,
/// and at a sighting with another inode. Overwrites `sighting`.
#[inline(always)]
pub(crate) fn watch(sighting: &mut Sighting, file: Kptr) {
    if !is_new(sighting, file) || !begin_watch(sighting, file, &ObjectId::NONE) {
        return;
    }
    let mut peer = Peer { file: Kptr(0), id: ObjectId::NONE };
    if find_peer(file, &mut peer) {
        let first = sighting.id;
        (sighting.id, sighting.fd, sighting.in_flight) = (peer.id, -1, 0);
        if is_new(sighting, peer.file) {
            begin_watch(sighting, peer.file, &first);
        }
    }
}

/// The other half of a pty, or the connected unix socket.
struct Peer {
    file: Kptr,
    id: ObjectId,
}

/// Not inlined: its stack frame is free again before the next call. All frames together have 512 bytes.
#[inline(never)]
fn find_peer(file: Kptr, out: &mut Peer) -> bool {
    let Some(peer) = object::peer_file(file) else { return false };
    let Some(state) = object::file_state(peer) else { return false };
    *out = Peer { file: peer, id: state.object };
    true
}

/// Whether the object is not watched yet, or with a larger hop, or through an inode that it does not have any more: the
/// kernel has reloaded the inode, or a new terminal has the number of a closed one.
#[inline(always)]
fn is_new(sighting: &Sighting, file: Kptr) -> bool {
    // SAFETY: as in `value`.
    unsafe { OBJECTS.get(sighting.id) }.is_none_or(|watch| {
        watch::hop(watch.value) > sighting.hop || watch.inode != object::lasting_inode(file)
    })
}

/// Cold: runs once for each object and hop. `joined` is the peer, if that was seen first. Returns whether the
/// object was inserted or changed.
#[inline(never)]
fn begin_watch(sighting: &Sighting, file: Kptr, joined: &ObjectId) -> bool {
    let slot = sighting.slot;
    let Some(record) = emit::start::<event::Object>(slot, kind::OBJECT) else { return false };
    record.payload.id = sighting.id;
    record.payload.process = sighting.process;
    record.payload.fd = sighting.fd;
    record.payload.in_flight = sighting.in_flight;
    record.payload.taken = sighting.taken;
    record.payload.joined = *joined;
    record.payload.hop = sighting.hop;
    object::describe_object(u64::from(slot), file.0);
    object::describe_queues(file, &mut record.payload);
    let value = watch_flags(&record.payload) | sighting.hop << watch::HOP_SHIFT;
    let inode = object::lasting_inode(file);
    let number = object::number_of(file).unwrap_or(sighting.id.ino);
    let watch = Watch { value, filter_slot: inode_filter_slot(number), inode };
    if insert_watch(&sighting.id, &watch) {
        record.send(record.text_len());
        return true;
    }
    false
}

/// Inserts an object or changes its value. Returns `false` if another CPU was first, or if the table is full.
#[inline(always)]
fn insert_watch(id: &ObjectId, watch: &Watch) -> bool {
    if is_watched(id) {
        return OBJECTS.insert(id, watch, EXIST).is_ok();
    }
    filter(id, watch, increment);
    let Err(error) = OBJECTS.insert(id, watch, NOEXIST) else { return true };
    filter(id, watch, decrement);
    if error != EXISTS {
        losses::count(Reason::ObjectsFull, 0);
    }
    false
}

/// Changes the filter slots of an object on which all processes count: of its number, and of the inode through which
/// it was seen (`/dev/tty` has another number than its terminal).
#[inline(always)]
fn filter(id: &ObjectId, watch: &Watch, change: impl Fn(&'static Array<u64>, u32)) {
    if watch.value & watch::ALL_PROCESSES == 0 {
        return;
    }
    let slot = inode_filter_slot(id.ino);
    change(&INODE_FILTER, slot);
    if watch.filter_slot != slot {
        change(&INODE_FILTER, watch.filter_slot);
    }
}

/// Removes an object if `has_ended` is true for its inode before and after the removal. The second check is
/// needed because a process that opens the object in between may still find the entry and then does not insert
/// a new one. Returns whether the object is not in the table any more.
#[inline(always)]
pub(crate) fn release(id: &ObjectId, has_ended: impl Fn(Kptr) -> bool) -> bool {
    // SAFETY: as in `value`.
    let Some(watch) = unsafe { OBJECTS.get(id) }.copied() else { return true };
    let inode = Kptr(watch.inode);
    if !has_ended(inode) {
        return false;
    }
    if OBJECTS.remove(id).is_err() {
        return true;
    }
    if !has_ended(inode) && OBJECTS.insert(id, watch, NOEXIST).is_ok() {
        return false;
    }
    filter(id, &watch, decrement);
    object::file_ended(id, inode);
    true
}

/// The flags of an object ([`mod@watch`]): which processes count on it, and whether it passes bytes on.
#[inline(always)]
fn watch_flags(seen: &event::Object) -> u32 {
    let kind = seen.mode & mode::S_IFMT;
    // Unrelated processes share these inodes: /dev/null, and the one of all eventfds, timerfds and so on.
    if kind == mode::S_IFCHR && seen.rdev == NULL_RDEV || seen.magic == ANON_INODE_FS_MAGIC {
        return 0;
    }
    let is_master = seen.tty.valid == 1 && seen.tty.major >> 3 == PTY_MASTER_MAJOR >> 3;
    if kind == mode::S_IFIFO || kind == mode::S_IFSOCK || is_master {
        return watch::ALL_PROCESSES | watch::ORDERED | watch::PASSES_ON;
    }
    if seen.tty.valid == 1 { watch::ALL_PROCESSES | watch::ORDERED } else { watch::ALL_PROCESSES }
}

/// Watches the objects that fd 0, 1 and 2 of a process point to.
#[inline(always)]
pub(crate) fn watch_stdio(slot: u32, process: &ProcessId, files: Kptr) {
    watch_fd(slot, process, files, 0, 0);
    watch_fd(slot, process, files, 1, 0);
    watch_fd(slot, process, files, 2, 0);
}

/// Watches the object that one fd points to, with this hop.
#[inline(always)]
pub(crate) fn watch_fd(slot: u32, process: &ProcessId, files: Kptr, fd: i32, hop: u32) {
    let fd_and_hop = u64::from(fd as u32) | u64::from(hop) << 32;
    watch_open_fd(u64::from(slot), files.0, fd_and_hop, u64::from(process.tgid), process.start_ns);
}

/// Exported, so that the verifier checks it once. Such functions take at most five arguments, integers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn watch_open_fd(
    slot: u64,
    files: u64,
    fd_and_hop: u64,
    tgid: u64,
    start_ns: u64,
) -> u64 {
    let process = ProcessId::new(tgid as u32, start_ns);
    let (fd, hop) = (fd_and_hop as i32, (fd_and_hop >> 32) as u32);
    let Some(file) = fdlookup::file_of(FilesTable::Probed(Kptr(files)), fd) else { return 0 };
    object::number_file(file.0);
    if let Some(state) = object::file_state(file) {
        let slot = slot as u32;
        let id = state.object;
        watch(&mut Sighting { process, id, fd, slot, hop, in_flight: 0, taken: 0 }, file);
        if hop == 0 && io::is_of_interest(fd) && fd != 0 {
            mark_output(&id);
        }
    }
    0
}

/// Whether this is the role of a target.
#[inline(always)]
pub(crate) fn is_target(role: u32) -> bool {
    role == ROLE_TARGET
}
