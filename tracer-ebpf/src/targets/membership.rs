//! Followed processes, and filters that tell of most processes and files that they are not in a table.

use aya_ebpf::maps::Array;
use tracer_common::{
    id::ProcessId,
    loss::Reason,
    process::{ProcessEntry, ROLE_PARTICIPANT, ROLE_TARGET, mark, tgid_filter_slot},
};

use crate::{
    events::loss as losses,
    kernel::{
        atomic::{MINUS_ONE, add},
        constants::TASK_GROUP_LEADER,
        kread::Kptr,
        task,
    },
    maps::{OWN_TGID, PROCESSES, TGID_FILTER},
};

/// `BPF_NOEXIST` and `BPF_EXIST`, `include/uapi/linux/bpf.h`.
pub(crate) const NOEXIST: u64 = 1;
pub(super) const EXIST: u64 = 2;
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

#[inline(always)]
pub(super) fn is_nonzero(slots: &'static Array<u64>, slot: u32) -> bool {
    slots.get(slot).is_some_and(|entries| *entries != 0)
}

/// Increments a filter slot, before the insertion of an entry into its map.
#[inline(always)]
pub(super) fn increment(slots: &'static Array<u64>, slot: u32) {
    if let Some(entries) = slots.get_ptr_mut(slot) {
        // SAFETY: points to a live map value.
        unsafe { add(entries, 1) };
    }
}

/// Decrements a filter slot, after the removal of an entry from its map.
#[inline(always)]
pub(super) fn decrement(slots: &'static Array<u64>, slot: u32) {
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

/// Whether this is the role of a target.
#[inline(always)]
pub(crate) fn is_target(role: u32) -> bool {
    role == ROLE_TARGET
}
