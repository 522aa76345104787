//! Who counts, and which objects are under watch.

use aya_ebpf::maps::Array;
use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    loss::Reason,
    object::{
        ANON_INODE_FS_MAGIC, NULL_RDEV, ObjectId, PTY_MASTER_MAJOR, Watch, inode_filter_slot, mode,
        watch,
    },
    process::{ProcessEntry, ROLE_PARTICIPANT, ROLE_TARGET, tgid_filter_slot},
};

use crate::{
    atomic::{MINUS_ONE, add},
    capture,
    constants::{FILE_INODE, SELF_TGID, TASK_GROUP_LEADER},
    emit, fdlookup,
    kread::Kptr,
    loss as losses,
    maps::{INODE_FILTER, OBJECTS, PROCESSES, TGID_FILTER},
    object,
    syscalls::io,
    task::FilesTable,
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

/// Whether a process may be followed: `false` is certain.
#[inline(always)]
pub(crate) fn may_be_followed(tgid: u32) -> bool {
    is_marked(&TGID_FILTER, tgid_filter_slot(tgid))
}

/// Whether an fd may lead to an object that is under watch for everybody: `false` is certain.
#[inline(always)]
pub(crate) fn may_lead_to_watched(files: FilesTable, fd: i32) -> bool {
    fdlookup::file_of(files, fd)
        .and_then(object::number_of)
        .is_some_and(|ino| is_marked(&INODE_FILTER, inode_filter_slot(ino)))
}

#[inline(always)]
fn is_marked(slots: &'static Array<u64>, slot: u32) -> bool {
    slots.get(slot).is_some_and(|marked| *marked != 0)
}

/// Counts an entry in a filter, before it is put into its table.
#[inline(always)]
fn count_in(slots: &'static Array<u64>, slot: u32) {
    if let Some(entries) = slots.get_ptr_mut(slot) {
        // SAFETY: points to a live map value.
        unsafe { add(entries, 1) };
    }
}

/// Counts an entry out of a filter, after it was taken out of its table.
#[inline(always)]
fn count_out(slots: &'static Array<u64>, slot: u32) {
    if let Some(entries) = slots.get_ptr_mut(slot) {
        // SAFETY: points to a live map value.
        unsafe { add(entries, MINUS_ONE) };
    }
}

/// Starts to follow the process of `task`. `false` when it was followed in this role already or the table is
/// full. A participant becomes a target when it turns out to be one.
#[inline(always)]
pub(crate) fn follow(process: ProcessId, role: u32, task: Kptr) -> bool {
    let slot = tgid_filter_slot(process.tgid);
    count_in(&TGID_FILTER, slot);
    let entry = ProcessEntry { start_ns: process.start_ns, role, ..ProcessEntry::default() };
    let error = match PROCESSES.insert(process.tgid, entry, NOEXIST) {
        Ok(()) => {
            note_leader(process.tgid, task);
            return true;
        }
        Err(error) => error,
    };
    count_out(&TGID_FILTER, slot);
    if error == EXISTS {
        return renew(&process, role, task) || role == ROLE_TARGET && promote(process.tgid);
    }
    losses::count(Reason::ProcessesFull, 0);
    false
}

/// Takes out the entry of a process that has ended. Whether there was one.
#[inline(always)]
pub(crate) fn forget(tgid: u32) -> bool {
    let is_out = PROCESSES.remove(tgid).is_ok();
    if is_out {
        count_out(&TGID_FILTER, tgid_filter_slot(tgid));
    }
    is_out
}

/// Notes the address of a process's leader ([`ProcessEntry::task`]), of which `task` is a thread.
#[inline(always)]
pub(crate) fn note_leader(tgid: u32, task: Kptr) {
    if let Some(entry) = entry(tgid) {
        let leader = task.follow(&TASK_GROUP_LEADER).unwrap_or(Kptr(0));
        // SAFETY: the pointer comes from the map and is not NULL; the field is a plain integer.
        unsafe { (*entry).task = leader.0 };
    }
}

/// Takes over the entry of a dead process of this pid, whose end was not seen; `false` when the entry
/// is this process's own. In place: another entry would not fit on the stack.
#[inline(always)]
fn renew(process: &ProcessId, role: u32, task: Kptr) -> bool {
    let Some(entry) = entry(process.tgid) else { return false };
    // SAFETY: the pointer comes from the map and is not NULL; all fields are plain integers.
    unsafe {
        let known = (*entry).start_ns;
        if known == 0 || known == process.start_ns {
            return false;
        }
        (*entry).start_ns = process.start_ns;
        (*entry).role = role;
        ((*entry).facts, (*entry).tty_asked, (*entry).hop) = (0, 0, 0);
        ((*entry).other_bytes, (*entry).other_calls) = (0, 0);
        (*entry).read_ends = 0;
    }
    note_leader(process.tgid, task);
    true
}

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

/// Makes sure that a stranger who touched a watched object is followed to its end.
#[inline(never)]
pub(crate) fn note_participant(process: &ProcessId, task: Kptr) {
    if PROCESSES.get_ptr(process.tgid).is_none() {
        follow(*process, ROLE_PARTICIPANT, task);
    }
}

/// From now on everything this process writes counts: it reads what the target wrote. `false` when that
/// was so before.
#[inline(never)]
pub(crate) fn follow_output(tgid: u32, hop: u32) -> bool {
    if tgid == SELF_TGID.load32() {
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

/// How an object is watched ([`watch`]); `None` when it is not.
#[inline(always)]
pub(crate) fn value(id: &ObjectId) -> Option<u32> {
    // SAFETY: the map is created without preallocation, so the value is not recycled while an RCU
    // reader looks at it.
    unsafe { OBJECTS.get(id) }.map(|watch| watch.value)
}

/// Whether bytes on this object count for a process that is no target.
#[inline(always)]
pub(crate) fn is_shared_watch(id: &ObjectId) -> bool {
    value(id).is_some_and(|value| value & watch::ALL_PROCESSES != 0)
}

/// Whether the object is under watch at all.
#[inline(always)]
pub(crate) fn is_watched(id: &ObjectId) -> bool {
    OBJECTS.get_ptr(id).is_some()
}

/// From now on, what is written to this object may be captured: the target's output goes there.
#[inline(always)]
pub(crate) fn mark_output(id: &ObjectId) {
    if !capture::is_on() {
        return;
    }
    if let Some(known) = OBJECTS.get_ptr_mut(id) {
        // SAFETY: the map returned a valid, aligned pointer; the last writer wins, and all write this.
        unsafe { (*known).value |= watch::OUTPUT };
    }
}

/// Through whom an object is seen.
#[derive(Clone, Copy)]
pub(crate) struct Sighting {
    /// Who.
    pub(crate) process: ProcessId,
    /// What.
    pub(crate) id: ObjectId,
    /// Through which fd.
    pub(crate) fd: i32,
    /// Scratch slot of the calling program.
    pub(crate) slot: u32,
    /// How many readers away from the target.
    pub(crate) hop: u32,
    /// Bytes that were just written to it.
    pub(crate) in_flight: u64,
}

/// Puts an object under watch and describes it, the first time it is seen, or seen nearer to the
/// target; the other half of a pty or a unix socket with it. `sighting` is used up.
#[inline(always)]
pub(crate) fn watch(sighting: &mut Sighting, file: Kptr) {
    if !is_news(sighting) || !begin_watch(sighting, file, &ObjectId::NONE) {
        return;
    }
    let mut other = Other { file: Kptr(0), id: ObjectId::NONE };
    if find_other(file, &mut other) {
        let first = sighting.id;
        (sighting.id, sighting.fd, sighting.in_flight) = (other.id, -1, 0);
        if is_news(sighting) {
            begin_watch(sighting, other.file, &first);
        }
    }
}

/// The other half of a pty or of a connected unix socket.
struct Other {
    file: Kptr,
    id: ObjectId,
}

/// A frame of its own, gone before the next call: the BPF stack is 512 bytes for all frames.
#[inline(never)]
fn find_other(file: Kptr, out: &mut Other) -> bool {
    let Some(other) = object::joined_file(file) else { return false };
    let Some(state) = object::file_state(other) else { return false };
    *out = Other { file: other, id: state.object };
    true
}

#[inline(always)]
fn is_news(sighting: &Sighting) -> bool {
    value(&sighting.id).is_none_or(|value| watch::hop(value) > sighting.hop)
}

/// Cold: once for each object. `joined` is its other half, where that one was seen before it. Returns
/// whether it came under watch just now.
#[inline(never)]
fn begin_watch(sighting: &Sighting, file: Kptr, joined: &ObjectId) -> bool {
    let slot = sighting.slot;
    let Some(record) = emit::start::<event::Object>(slot, kind::OBJECT) else { return false };
    record.payload.id = sighting.id;
    record.payload.process = sighting.process;
    record.payload.fd = sighting.fd;
    record.payload.in_flight = sighting.in_flight;
    record.payload.joined = *joined;
    record.payload.hop = sighting.hop;
    object::describe_object(u64::from(slot), file.0);
    let value = audience(&record.payload) | sighting.hop << watch::HOP_SHIFT;
    let inode = file.follow(&FILE_INODE).unwrap_or(Kptr(0)).0;
    if put_under_watch(&sighting.id, &Watch { value, zero: 0, inode }) {
        record.send(record.text_len());
        return true;
    }
    false
}

/// Puts an object into its table, or changes its value there; `false` when another CPU did, or there is no room.
#[inline(always)]
fn put_under_watch(id: &ObjectId, watch: &Watch) -> bool {
    if is_watched(id) {
        return OBJECTS.insert(id, watch, EXIST).is_ok();
    }
    let (slot, is_filtered) = (inode_filter_slot(id.ino), watch.value & watch::ALL_PROCESSES != 0);
    if is_filtered {
        count_in(&INODE_FILTER, slot);
    }
    let Err(error) = OBJECTS.insert(id, watch, NOEXIST) else { return true };
    if is_filtered {
        count_out(&INODE_FILTER, slot);
    }
    if error != EXISTS {
        losses::count(Reason::ObjectsFull, 0);
    }
    false
}

/// Takes an object out of its table if `has_ended` says so of its inode, before and after: a process that opens it
/// in between finds it in the table and does not put it in once more. Whether it is out.
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
    if watch.value & watch::ALL_PROCESSES != 0 {
        count_out(&INODE_FILTER, inode_filter_slot(id.ino));
    }
    true
}

/// Which processes are counted on an object, and whether its readers pass on what they take out.
#[inline(always)]
fn audience(seen: &event::Object) -> u32 {
    let kind = seen.mode & mode::S_IFMT;
    // One inode for everybody: /dev/null, and all eventfds, timers and their like.
    if kind == mode::S_IFCHR && seen.rdev == NULL_RDEV || seen.magic == ANON_INODE_FS_MAGIC {
        return 0;
    }
    let is_master = seen.tty.valid == 1 && seen.tty.major >> 3 == PTY_MASTER_MAJOR >> 3;
    if kind == mode::S_IFIFO || kind == mode::S_IFSOCK || is_master {
        return watch::ALL_PROCESSES | watch::PASSES_ON;
    }
    watch::ALL_PROCESSES
}

/// Puts what fd 0, 1 and 2 of a process point to under watch.
#[inline(always)]
pub(crate) fn watch_stdio(slot: u32, process: &ProcessId, files: Kptr) {
    watch_fd(slot, process, files, 0, 0);
    watch_fd(slot, process, files, 1, 0);
    watch_fd(slot, process, files, 2, 0);
}

/// Puts what one fd points to under watch, `hop` readers away from the target.
#[inline(always)]
pub(crate) fn watch_fd(slot: u32, process: &ProcessId, files: Kptr, fd: i32, hop: u32) {
    let fd_and_hop = u64::from(fd as u32) | u64::from(hop) << 32;
    watch_open_fd(u64::from(slot), files.0, fd_and_hop, u64::from(process.tgid), process.start_ns);
}

/// Exported, so that the verifier checks it once; therefore it takes numbers only, and no more than five.
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
    if let Some(file) = fdlookup::file_of(FilesTable::Probed(Kptr(files)), fd)
        && let Some(state) = object::file_state(file)
    {
        let slot = slot as u32;
        let id = state.object;
        watch(&mut Sighting { process, id, fd, slot, hop, in_flight: 0 }, file);
        if hop == 0 && io::is_of_interest(fd) && fd != 0 {
            mark_output(&id);
        }
    }
    0
}

/// Whether this role makes every fd of interest count.
#[inline(always)]
pub(crate) fn is_target(role: u32) -> bool {
    role == ROLE_TARGET
}
