//! Watched objects: those on which transfers count, and who counts on them.

use aya_ebpf::maps::Array;
use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    loss::Reason,
    object::{
        ANON_INODE_FS_MAGIC, NULL_RDEV, ObjectId, PTY_MASTER_MAJOR, Watch, inode_filter_slot, mode,
        watch,
    },
};

use super::membership::{EXIST, EXISTS, NOEXIST, decrement, increment, is_nonzero};
use crate::{
    events::{emit, loss as losses},
    kernel::{
        constants::{ALL_FDS, CAPTURE, FD_MASK},
        fdlookup,
        kread::Kptr,
        task::FilesTable,
    },
    maps::{INODE_FILTER, OBJECTS},
    object,
};

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
    if CAPTURE.load() == 0 {
        return;
    }
    if let Some(known) = OBJECTS.get_ptr_mut(id) {
        // SAFETY: the map returned a valid, aligned pointer; all concurrent writers set the same flag.
        unsafe { (*known).value |= watch::OUTPUT };
    }
}

/// Notes that a file is cut too often to tell each cut; whether that was not known yet.
#[inline(always)]
pub(crate) fn mark_cut_often(id: &ObjectId) -> bool {
    let Some(known) = OBJECTS.get_ptr_mut(id) else { return false };
    // SAFETY: as in `mark_output`; a race causes at most a duplicate event.
    unsafe {
        let is_first = (*known).value & watch::CUT_OFTEN == 0;
        (*known).value |= watch::CUT_OFTEN;
        is_first
    }
}

/// Whether the user selected this fd number.
#[inline(always)]
pub(crate) fn is_of_interest(fd: i32) -> bool {
    ALL_FDS.load() == 1 || (0..64).contains(&fd) && FD_MASK.load() >> (fd as u32 & 63) & 1 == 1
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
        if hop == 0 && is_of_interest(fd) && fd != 0 {
            mark_output(&id);
        }
    }
    0
}
