//! Threads that are blocked in a call on a watched object: a writer whose pipe is full, a reader that waits for
//! something else.

use std::path::PathBuf;

use procfs::process::{Process, Syscall};
use rustix::fs::stat;
use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::{
    event::{BlockedCall, BlockedThread, EventKind},
    session::Session,
};

use super::identity::is_same_inode;

/// How many processes are checked at most. If there are more, no thread is reported.
const MOST_PROCESSES: usize = 4096;
/// How many threads of a process are checked at most.
const MOST_THREADS: usize = 256;

/// All threads of the session's live processes that are blocked in a call.
#[must_use]
pub fn blocked_threads(session: &Session) -> Vec<EventKind> {
    session
        .processes
        .values()
        .filter(|process| process.end_ns.is_none())
        .take(MOST_PROCESSES)
        .flat_map(|process| of_process(session, process.id))
        .map(EventKind::BlockedThread)
        .collect()
}

fn of_process(session: &Session, process: ProcessId) -> Vec<BlockedThread> {
    let tasks = i32::try_from(process.tgid)
        .ok()
        .and_then(|pid| Process::new(pid).ok())
        .and_then(|known| known.tasks().ok());
    let Some(tasks) = tasks else { return Vec::new() };
    tasks
        .filter_map(Result::ok)
        .take(MOST_THREADS)
        .filter_map(|task| {
            let Ok(Syscall::Blocked { syscall_number, argument_registers, .. }) = task.syscall()
            else {
                return None;
            };
            let (call, fd) = call(syscall_number, argument_registers);
            let object = if fd < 0 { None } else { object(session, process.tgid, fd) };
            let tid = u32::try_from(task.tid).ok()?;
            Some(BlockedThread { process, tid, call, fd, object })
        })
        .collect()
}

/// What a call waits for, and on which fd (-1 for none), by the call's number in native programs (`syscall(2)`).
fn call(number: i64, arguments: [u64; 6]) -> (BlockedCall, i32) {
    let fd = |at: usize| arguments.get(at).map_or(-1, |raw| *raw as i32);
    match number {
        libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwritev2
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_sendfile
        | libc::SYS_vmsplice => (BlockedCall::Write, fd(0)),
        libc::SYS_splice | libc::SYS_copy_file_range => (BlockedCall::Write, fd(2)),
        libc::SYS_tee => (BlockedCall::Write, fd(1)),
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_preadv2
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg => (BlockedCall::Read, fd(0)),
        _ => (BlockedCall::Other, -1),
    }
}

/// The watched object that an fd leads to, by inode and device.
fn object(session: &Session, tgid: u32, fd: i32) -> Option<ObjectId> {
    let seen = stat(PathBuf::from(format!("/proc/{tgid}/fd/{fd}"))).ok()?;
    let first = ObjectId { ino: seen.st_ino, dev: 0, discriminator: 0 };
    let mut same = session
        .objects
        .range(first..)
        .map(|(id, _)| *id)
        .take_while(|id| id.ino == seen.st_ino)
        .filter(|id| is_same_inode(id, seen.st_ino, seen.st_dev));
    // Several terminals share the inode of /dev/ptmx, so the object would be ambiguous.
    match (same.next(), same.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
