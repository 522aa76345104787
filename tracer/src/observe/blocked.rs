//! Threads that are blocked: a writer whose pipe is full, a reader that waits for something else, a process that opens a
//! FIFO without a reader, or that a signal has stopped.

use std::{
    collections::BTreeSet,
    fs::{metadata, read_link},
    os::unix::fs::{FileExt as _, FileTypeExt as _},
    path::{Path, PathBuf},
};

use procfs::process::{Process, Syscall};
use rustix::fs::stat;
use tracer_common::{
    id::ProcessId,
    ledger::WRITE,
    object::{ObjectId, PTY_SLAVE_MAJOR},
};
use tracer_core::{
    event::{BlockedCall, BlockedThread, EventKind, Look},
    session::{self, Object, Session},
};

use super::{
    identity::{MASTER, inode_of_fd, kernel_dev, terminal_of},
    look::Request,
    lookout::Lookout,
    writers::writer_of,
};

/// How many processes are checked at most.
const MOST_PROCESSES: usize = 4096;
/// How many threads of a process are checked at most.
const MOST_THREADS: usize = 256;

/// Asks about all threads of the session's live processes that are blocked in a call, and of processes that could read
/// what those wrote: they need not have read, or be known otherwise. `is_end`: whether there is time to look for the
/// processes that those wait for.
pub fn ask_for_blocked_threads(session: &Session, lookout: &mut Lookout, is_end: bool) {
    let is_here = |process: &&session::Process| process.end_ns.is_none() && process.id.sandbox == 0;
    let live = || session.processes.values().filter(is_here);
    let idle = if is_end { idle(session) } else { BTreeSet::new() };
    for process in live().take(MOST_PROCESSES).map(|process| process.id) {
        lookout.ask(Request::Threads { process, writers: idle.contains(&process) });
    }
    lookout.left_out(Look::Threads, live().skip(MOST_PROCESSES).count());
    for process in other_readers(session) {
        lookout.ask(Request::Threads { process, writers: false });
    }
}

/// For how many processes the writers are looked for of what they read: each look walks over the machine's processes.
const MOST_IDLE: usize = 4;

/// Running targets that have written nothing: they may wait for what another process has left open.
fn idle(session: &Session) -> BTreeSet<ProcessId> {
    let live = session.processes.values().filter(|it| it.is_target && it.end_ns.is_none());
    let is_silent = |id: &ProcessId| session.rows_of(*id, WRITE).all(|(_, row)| row.bytes == 0);
    live.map(|process| process.id).filter(is_silent).take(MOST_IDLE).collect()
}

/// How many processes are checked at most that are known only because they hold the other end of something.
const MOST_READERS: usize = 64;

/// Processes that hold a read end of what others write to, and of which nothing else is known.
fn other_readers(session: &Session) -> BTreeSet<ProcessId> {
    let passing = session.objects.values().filter(|object| object.kind.passes_on());
    let held = passing.flat_map(|object| session.holders(&object.id));
    let readers = held.filter(|held| held.reads()).map(|held| held.process);
    let unknown = readers.filter(|id| id.sandbox == 0 && !session.processes.contains_key(id));
    unknown.take(MOST_READERS).collect()
}

/// The answer about one process. [`with_object`] completes it.
pub(super) fn threads_of(process: ProcessId, writers: bool) -> Vec<EventKind> {
    let known = i32::try_from(process.tgid).ok().and_then(|pid| Process::new(pid).ok());
    let Some(known) = known else { return Vec::new() };
    let at_all = BlockedThread { process, fd: -1, ..BlockedThread::default() };
    if let Some(stat) = known.stat().ok().filter(|stat| stat.state == STOPPED) {
        let in_background = stat.tty_nr != 0 && stat.tpgid != stat.pgrp;
        let (tid, call) = (process.tgid, BlockedCall::Stopped);
        let leader = BlockedThread { tid, call, in_background, ..at_all };
        return vec![EventKind::BlockedThread(leader)];
    }
    let threads = known.tasks().into_iter().flatten().filter_map(Result::ok).take(MOST_THREADS);
    threads
        .filter_map(|task| {
            let Ok(Syscall::Blocked { syscall_number, argument_registers, .. }) = task.syscall()
            else {
                return None;
            };
            let tid = u32::try_from(task.tid).ok()?;
            let thread = BlockedThread { tid, ..at_all.clone() };
            let thread = match opens(syscall_number, argument_registers) {
                Some((path, flags)) => opening(&thread, &known, path, flags),
                None => waiting(thread, call(syscall_number, argument_registers)),
            };
            let is_pipe = thread.call == BlockedCall::Read && thread.path.starts_with("pipe:");
            let writer = (writers && is_pipe && tid == process.tgid)
                .then(|| writer_of(&thread.path, process.tgid));
            let thread = BlockedThread { writer: writer.flatten().unwrap_or_default(), ..thread };
            Some(EventKind::BlockedThread(thread))
        })
        .collect()
}

/// A process that a signal has stopped (`proc_pid_stat(5)`).
const STOPPED: char = 'T';

/// A thread in a call on an fd.
fn waiting(thread: BlockedThread, (call, fd): (BlockedCall, i32)) -> BlockedThread {
    if fd < 0 {
        return BlockedThread { call, fd, ..thread };
    }
    let object = inode_behind(thread.process.tgid, fd);
    let path = name_behind(thread.process.tgid, fd).unwrap_or_default();
    BlockedThread { call, fd, object, path, ..thread }
}

/// What an fd leads to, as `ls -l /proc/PID/fd` shows it; the master of a pty as its terminal.
fn name_behind(tgid: u32, fd: i32) -> Option<String> {
    let link = read_link(format!("/proc/{tgid}/fd/{fd}")).ok()?;
    let name = link.to_string_lossy().into_owned();
    let terminal = if name.ends_with("/ptmx") { terminal_of(tgid, fd) } else { None };
    Some(terminal.unwrap_or(name))
}

/// The address of the path, and the flags, of a call that opens a file (`open(2)`).
fn opens(number: i64, arguments: [u64; 6]) -> Option<(u64, u64)> {
    match number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => Some((arguments[0], arguments[1])),
        libc::SYS_openat => Some((arguments[1], arguments[2])),
        _ => None,
    }
}

/// The longest path that is read, in bytes.
const LONGEST_PATH: usize = 256;

/// A thread in a call that opens a file.
fn opening(thread: &BlockedThread, process: &Process, address: u64, flags: u64) -> BlockedThread {
    let mut bytes = [0; LONGEST_PATH];
    let read = process.mem().ok().and_then(|memory| memory.read_at(&mut bytes, address).ok());
    let known = bytes.get(..read.unwrap_or(0)).unwrap_or(&[]);
    let path = known.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let path = String::from_utf8_lossy(path).into_owned();
    let access = flags & libc::O_ACCMODE as u64;
    let opens_fifo = access == libc::O_WRONLY as u64 && is_fifo(thread.process.tgid, &path);
    BlockedThread { call: BlockedCall::Open, path, opens_fifo, ..thread.clone() }
}

/// Whether a path of a process leads to a FIFO.
fn is_fifo(tgid: u32, path: &str) -> bool {
    let process = PathBuf::from(format!("/proc/{tgid}"));
    let path = match Path::new(path).strip_prefix("/") {
        Ok(from_root) => process.join("root").join(from_root),
        Err(_) => process.join("cwd").join(path),
    };
    metadata(path).is_ok_and(|found| found.file_type().is_fifo())
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
        libc::SYS_flock => (BlockedCall::Lock, fd(0)),
        libc::SYS_fcntl if matches!(fd(1), libc::F_SETLKW | libc::F_OFD_SETLKW) => {
            (BlockedCall::Lock, fd(0))
        }
        _ => (BlockedCall::Other, -1),
    }
}

/// Inode and device of what an fd leads to, or the inode alone (device 0).
fn inode_behind(tgid: u32, fd: i32) -> Option<ObjectId> {
    let link = PathBuf::from(format!("/proc/{tgid}/fd/{fd}"));
    let name = read_link(&link).ok()?;
    let is_file = name.as_os_str().as_encoded_bytes().starts_with(b"/");
    // `stat` asks the file system, which may be what the thread waits for.
    if is_file && let Some(ino) = inode_of_fd(tgid, fd) {
        return Some(ObjectId { ino, dev: 0, discriminator: 0 });
    }
    let seen = stat(link).ok()?;
    Some(ObjectId { ino: seen.st_ino, dev: kernel_dev(seen.st_dev), discriminator: 0 })
}

/// Whether an object is the half of a pty that has a number of its own.
fn is_slave(object: &Object) -> bool {
    (PTY_SLAVE_MAJOR..PTY_SLAVE_MAJOR + 8).contains(&object.tty.major)
}

/// Names the watched object of a blocked thread, which the answer has only by its inode, and of a terminal by its number.
#[must_use]
pub fn with_object(session: &Session, thread: &BlockedThread) -> BlockedThread {
    let object = thread.object.and_then(|seen| watched(session, &seen, &thread.path));
    BlockedThread { object, ..thread.clone() }
}

fn watched(session: &Session, seen: &ObjectId, name: &str) -> Option<ObjectId> {
    let first = ObjectId { ino: seen.ino, dev: 0, discriminator: 0 };
    let mut same = session
        .objects
        .range(first..)
        .map(|(id, _)| *id)
        .take_while(|id| id.ino == seen.ino)
        .filter(|id| seen.dev == 0 || id.dev == seen.dev);
    // Several terminals share the inode of /dev/ptmx, so the object would be ambiguous. Of terminals with one number, one
    // after the other, the latest is alive.
    if name.ends_with(MASTER) {
        let known = same.filter_map(|id| session.objects.get(&id));
        let masters = known.filter(|object| object.name() == name);
        return masters.map(|object| (object.seen_ns, object.id)).max().map(|(_, id)| id);
    }
    match (same.next(), same.next()) {
        (Some(only), None) => Some(only),
        (Some(first), Some(second)) => {
            let terminals = [first, second].into_iter().chain(same);
            let known = terminals.filter_map(|id| session.objects.get(&id));
            let slaves =
                known.filter(|object| is_slave(object)).map(|object| (object.seen_ns, object.id));
            slaves.max().map(|(_, id)| id)
        }
        _ => None,
    }
}
