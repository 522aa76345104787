//! What a call changes in the table of fds: read ends, files that need a number, standard fds that are replaced.

use tracer_common::loss::Reason;

use super::{F_DUPFD, F_DUPFD_CLOEXEC, is_stdio};
use crate::{
    events::loss as losses,
    kernel::{
        fdlookup::file_of,
        task::{self, FilesTable},
        usermem,
    },
    ledger, object, read_ends,
    syscalls::{Call, table},
    targets::membership,
};

/// Registers read ends that the current call created, and reports those that it closed. If the call replaced fd
/// 0, 1 or 2, returns the fd + 1, otherwise 0. Exported, like the two functions
/// below, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn read_ends_of_call() -> u64 {
    let Some(call) = Call::current() else { return 0 };
    if call.result < 0 {
        return 0;
    }
    update_read_ends(&call);
    if object::has_numbers() {
        update_files(&call);
    }
    if returns_new_fd(&call) && is_stdio(call.result) { call.result as u64 + 1 } else { 0 }
}

/// Whether the result of the call is a new fd.
#[inline(always)]
pub(super) fn returns_new_fd(call: &Call) -> bool {
    match call.class {
        table::DUP => true,
        class if table::is_open(class) => true,
        table::FCNTL => matches!(call.args.int::<1>(), F_DUPFD | F_DUPFD_CLOEXEC),
        _ => false,
    }
}

/// Registers read ends that this call created, and reports those that it closed.
#[inline(always)]
fn update_read_ends(call: &Call) {
    match call.class {
        table::CLOSE => read_ends::closed(&call.process, call.role, call.args.fd::<0>()),
        table::CLOSE_RANGE if !only_sets_cloexec(call) => {
            read_ends::check_ends(&call.process, call.role, call.args.int::<0>());
        }
        class if table::is_open(class) => {
            read_ends::closed(&call.process, call.role, call.result as i32);
        }
        table::DUP | table::FCNTL if returns_new_fd(call) => {
            read_ends::copied(&call.process, call.role, call.args.fd::<0>(), call.result as i32);
        }
        table::PIPE => created(call, call.args.get::<0>(), false),
        table::SOCKETPAIR => created(call, call.args.get::<3>(), true),
        _ => {}
    }
}

/// An fd leads to no file any more, or to another one, whose inode may have the number and the memory of the one
/// before.
#[inline(always)]
fn update_files(call: &Call) {
    let fd = match call.class {
        table::CLOSE => call.args.fd::<0>(),
        _ if returns_new_fd(call) => call.result as i32,
        _ => return,
    };
    ledger::forget_inodes(u64::from(call.process.tgid), u64::from(fd as u32));
    if table::is_open(call.class)
        && let Some(file) = file_of(FilesTable::Probed(task::current_files()), fd)
    {
        object::forget_number(file.0);
    }
}

/// `CLOSE_RANGE_CLOEXEC` (`include/uapi/linux/close_range.h`): sets the close-on-exec flag only.
#[inline(always)]
pub(super) fn only_sets_cloexec(call: &Call) -> bool {
    call.args.int::<2>() & 4 != 0
}

#[inline(always)]
fn created(call: &Call, list: u64, both: bool) {
    if !membership::is_target(call.role) {
        return;
    }
    let Some([first, second]) = usermem::read::<[i32; 2]>(list) else {
        losses::count(Reason::UserMemory, 0);
        return;
    };
    read_ends::created(&call.process, call.role, first);
    if both {
        read_ends::created(&call.process, call.role, second);
    }
}
