//! Who counts, and which objects are under watch.

use tracer_common::{
    event::{self, kind},
    id::ProcessId,
    loss,
    object::{NULL_RDEV, ObjectId, mode},
    process::{ProcessEntry, ROLE_PARTICIPANT, ROLE_TARGET},
};

use crate::{
    emit, fdlookup,
    kread::Kptr,
    loss as losses,
    maps::{OBJECTS, PROCESSES},
    object,
    task::FilesTable,
};

/// `BPF_NOEXIST`, `include/uapi/linux/bpf.h`.
const NOEXIST: u64 = 1;
/// `-EEXIST`.
const EXISTS: i32 = -17;

/// Value of an object that only targets are counted on: everybody shares `/dev/null`.
const TARGETS_ONLY: u32 = 0;
/// Value of an object that everybody is counted on.
const EVERYBODY: u32 = 1;

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

/// Starts to follow a process. `false` when it was followed in this role already or the table is
/// full. A participant becomes a target when it turns out to be one.
#[inline(always)]
pub(crate) fn follow(process: ProcessId, role: u32) -> bool {
    let entry = ProcessEntry { start_ns: process.start_ns, role, ..ProcessEntry::default() };
    match PROCESSES.insert(process.tgid, entry, NOEXIST) {
        Ok(()) => true,
        Err(EXISTS) => role == ROLE_TARGET && promote(process.tgid),
        Err(_) => {
            losses::count(loss::PROCESSES_FULL, 0);
            false
        }
    }
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
pub(crate) fn note_participant(process: &ProcessId) {
    if PROCESSES.get_ptr(process.tgid).is_none() {
        follow(*process, ROLE_PARTICIPANT);
    }
}

/// Whether bytes on this object count for a process that is no target.
#[inline(always)]
pub(crate) fn is_shared_watch(id: &ObjectId) -> bool {
    // SAFETY: the map is created without preallocation, so the value is not recycled while an RCU
    // reader looks at it.
    unsafe { OBJECTS.get(id) }.is_some_and(|value| *value == EVERYBODY)
}

/// Whether the object is under watch at all.
#[inline(always)]
pub(crate) fn is_watched(id: &ObjectId) -> bool {
    OBJECTS.get_ptr(id).is_some()
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
    /// Bytes that were just written to it.
    pub(crate) in_flight: u64,
}

/// Puts an object under watch and describes it, the first time it is seen.
#[inline(always)]
pub(crate) fn watch(sighting: &Sighting, file: Kptr) {
    if !is_watched(&sighting.id) {
        begin_watch(sighting, file);
    }
}

/// Cold: once for each object.
#[inline(never)]
fn begin_watch(sighting: &Sighting, file: Kptr) {
    let slot = sighting.slot;
    let Some(record) = emit::start::<event::Object>(slot, kind::OBJECT) else { return };
    record.payload.id = sighting.id;
    record.payload.process = sighting.process;
    record.payload.fd = sighting.fd;
    record.payload.in_flight = sighting.in_flight;
    object::describe_object(u64::from(slot), file.0);
    let payload = &record.payload;
    let private_to_targets =
        payload.rdev == NULL_RDEV && payload.mode & mode::S_IFMT == mode::S_IFCHR;
    let value = if private_to_targets { TARGETS_ONLY } else { EVERYBODY };
    match OBJECTS.insert(sighting.id, value, NOEXIST) {
        Ok(()) => record.send(record.text_len()),
        Err(EXISTS) => {}
        Err(_) => losses::count(loss::OBJECTS_FULL, 0),
    }
}

/// Puts what fd 0, 1 and 2 of a process point to under watch.
#[inline(always)]
pub(crate) fn watch_stdio(slot: u32, process: &ProcessId, files: Kptr) {
    watch_fd(slot, process, files, 0);
    watch_fd(slot, process, files, 1);
    watch_fd(slot, process, files, 2);
}

/// Puts what one fd points to under watch.
#[inline(always)]
pub(crate) fn watch_fd(slot: u32, process: &ProcessId, files: Kptr, fd: i32) {
    watch_open_fd(u64::from(slot), files.0, fd as u64, u64::from(process.tgid), process.start_ns);
}

/// Exported, so that the verifier checks it once; therefore it takes numbers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn watch_open_fd(slot: u64, files: u64, fd: u64, tgid: u64, start_ns: u64) -> u64 {
    let process = ProcessId::new(tgid as u32, start_ns);
    let fd = fd as i32;
    if let Some(file) = fdlookup::file_of(FilesTable::Probed(Kptr(files)), fd)
        && let Some(state) = object::file_state(file)
    {
        let slot = slot as u32;
        watch(&Sighting { process, id: state.object, fd, slot, in_flight: 0 }, file);
    }
    0
}

/// Whether this role makes every fd of interest count.
#[inline(always)]
pub(crate) fn is_target(role: u32) -> bool {
    role == ROLE_TARGET
}
