//! The program that removes ended entries from the maps ([`tracer_common::sweep`]). It is a task iterator, because
//! user space can start one on every kernel, and it returns 1, which ends the walk at the first task
//! (`bpf_iter_run_prog`, kernel/bpf/bpf_iter.c).

use tracer_common::{
    id::ProcessId,
    object::{EndKey, ObjectId},
    sweep::{ARGUMENTS, object_of, question},
};

use crate::{
    hooks::io_uring,
    kernel::{
        constants::TASK_FILES,
        fdlookup,
        kread::Kptr,
        task::{self, FilesTable},
    },
    ledger,
    maps::{SWEEP_RUN, URING},
    object, read_ends,
    targets::{membership, watches},
};

/// Entry point, see the module documentation.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) fn sweep(_ctx: *const u64) -> i32 {
    if let Some(run) = SWEEP_RUN.get_ptr_mut(0) {
        // SAFETY: points to a live map value; user space runs one sweep at a time.
        unsafe { (*run).answer = answer((*run).arguments) };
    }
    1
}

#[inline(always)]
fn answer([question, a, b, c, d]: [u64; ARGUMENTS]) -> u64 {
    match question {
        question::RELEASE => release(a, b, c),
        question::LEADS => leads(a, b, c, d),
        question::FORGET_PROCESS => forget_process(a, b),
        question::CHECK_END => check_registered_end(a, b),
        question::FORGET_REQUEST => forget_request(a, b),
        question::FORGET_FILE => object::forget_file(a, b, c),
        question::FORGET_INTERRUPTED => u64::from(ledger::forget_interrupted(a as u32)),
        _ => 0,
    }
}

/// Exported, like those below, so that the verifier checks it once. Therefore they take integers only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn release(ino: u64, dev_and_discriminator: u64, is_held: u64) -> u64 {
    let id = object_of(ino, dev_and_discriminator);
    let has_ended = |inode| object::has_ended(inode, &id, is_held == 1);
    u64::from(watches::release(&id, has_ended))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn leads(tgid_and_fd: u64, start_ns: u64, ino: u64, dev_and_discriminator: u64) -> u64 {
    let (key, id) = (EndKey::from_packed(tgid_and_fd), object_of(ino, dev_and_discriminator));
    u64::from(leads_to(ProcessId::new(key.tgid, start_ns), key.fd, &id))
}

#[inline(always)]
fn leads_to(process: ProcessId, fd: i32, id: &ObjectId) -> bool {
    let Some(files) = open_files(&process) else { return false };
    // If the file table or the file cannot be read, the fd counts as open.
    files.0 == 0
        || fdlookup::file_of(FilesTable::Probed(files), fd)
            .is_some_and(|file| object::file_state(file).is_none_or(|state| state.object == *id))
}

/// The file table of a followed process: `None` if it has ended, 0 if the table is unknown.
#[inline(always)]
fn open_files(process: &ProcessId) -> Option<Kptr> {
    let entry = membership::entry(process.tgid)?;
    if membership::read(process.tgid, entry).0 != *process {
        return None;
    }
    // SAFETY: points to a live map value.
    let leader = Kptr(unsafe { (*entry).task });
    if leader.0 == 0 || task::process_of(leader) != Some(*process) {
        return Some(Kptr(0));
    }
    leader.follow(&TASK_FILES)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forget_process(tgid: u64, start_ns: u64) -> u64 {
    let tgid = tgid as u32;
    let Some(entry) = membership::entry(tgid) else { return 0 };
    let is_same_process = membership::read(tgid, entry).0.start_ns == start_ns;
    u64::from(is_same_process && membership::forget(tgid))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn check_registered_end(tgid_and_fd: u64, start_ns: u64) -> u64 {
    let EndKey { tgid, fd } = EndKey::from_packed(tgid_and_fd);
    let process = ProcessId::new(tgid, start_ns);
    match open_files(&process) {
        None => {
            read_ends::forget(&process, fd);
            1
        }
        Some(Kptr(0)) => 0,
        Some(files) => read_ends::check_end(tgid_and_fd, start_ns, 0, files.0),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forget_request(address: u64, start_ns: u64) -> u64 {
    // SAFETY: the map is created without preallocation, so the value is not reused while it is read.
    let owner = unsafe { URING.get(address) };
    let is_owner = owner.is_some_and(|owner| owner.process.start_ns == start_ns);
    u64::from(is_owner && io_uring::forget(address))
}
