//! Calls that transfer bytes.

use tracer_common::{
    event as layout,
    ledger::{LedgerKey, LedgerRow, READ, WRITE},
    object::ObjectId,
    op,
    process::ROLE_TARGET,
};
use tracer_core::{
    event::{BlockedCall, BlockedThread, EventKind, Sighting},
    session::LossReason,
};

use super::{Guest, MOST_PENDING, MOST_ROWS, MOST_ROWS_OF_ALL, Pending};
use crate::{
    objects::Number,
    row::{self, Call},
    wire::{self, text},
};

impl Guest {
    /// A `read`, a `write` or one of their kin has begun or returned.
    pub(super) fn transferred(&mut self, call: &wire::Transfer, direction: u32) {
        let Some(context) = &call.context else { return self.lose(LossReason::GuestUnreadable, 0) };
        let Some(tgid) = self.process_of(context) else { return };
        let Ok(fd) = i32::try_from(call.fd) else { return };
        let time_ns = self.time(context);
        let (op, is_bytes) = operation(call.sysno);
        let path = text(&call.path);
        let flags = if direction == WRITE { libc::O_WRONLY } else { libc::O_RDONLY };
        let number = self.leads_to(tgid, fd, &path, flags as u32, time_ns);
        let Some(exit) = call.exit else {
            let begun = Pending { fd, count: call.count, is_bytes };
            if self.pending.len() < MOST_PENDING {
                self.pending.insert((tgid, context.tid), begun);
            } else {
                self.lose(LossReason::GuestTablesFull, 0);
            }
            return;
        };
        self.pending.remove(&(tgid, context.tid));
        let requested = is_bytes.then_some(call.count);
        let call = Call { time_ns, outcome: exit.outcome(), requested, op };
        self.count(tgid, number, fd, direction, &call);
    }

    /// Counts a call in its row.
    pub(super) fn count(
        &mut self,
        tgid: i32,
        number: Option<Number>,
        fd: i32,
        direction: u32,
        call: &Call,
    ) {
        let is_wanted = self.is_wanted(fd) && direction == WRITE || fd == 0 && direction == READ;
        if let Some(number) = number {
            let Some(object) = self.objects.get_mut(number) else { return };
            let moved = &mut object.moved[direction as usize & 1];
            *moved = moved.saturating_add(call.outcome.unwrap_or(0));
            let is_early = object.kind.is_counted_early();
            if is_wanted && (direction == WRITE || is_early) {
                self.watch(number, call.time_ns);
            }
            let is_watched = self.objects.get(number).is_some_and(|object| object.is_watched);
            if !is_watched && !is_early && direction == READ {
                return;
            }
        } else if !is_wanted || call.outcome.is_ok() {
            if call.outcome.is_ok_and(|bytes| bytes > 0) && is_wanted {
                self.lose(LossReason::GuestCallsNotTold, call.outcome.unwrap_or(0));
            }
            return;
        }
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let is_full = process.rows.len() >= MOST_ROWS || self.open_rows >= MOST_ROWS_OF_ALL;
        let key = (number, fd, direction);
        if !process.rows.contains_key(&key) {
            if is_full {
                return self.lose(LossReason::GuestTablesFull, call.outcome.unwrap_or(0));
            }
            self.open_rows += 1;
        }
        let row = process.rows.entry(key).or_insert(LedgerRow::ZERO);
        let is_first = row.first_ns == 0;
        row::count(row, call);
        if is_first {
            self.tell_first(tgid, number, fd, direction, call);
        }
    }

    fn tell_first(
        &mut self,
        tgid: i32,
        number: Option<Number>,
        fd: i32,
        direction: u32,
        call: &Call,
    ) {
        let object = number.and_then(|number| self.objects.get(number));
        let is_told = object.is_none_or(|object| object.is_watched && object.id.is_some());
        let id = object.and_then(|object| object.id).unwrap_or_default();
        let Some(process) = self.processes.get(&tgid).filter(|_| is_told) else { return };
        let first = layout::FirstIo {
            key: LedgerKey { process: process.id, object: id, fd, direction },
            result: match call.outcome {
                Ok(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
                Err(errno) => -i64::from(errno),
            },
            op: call.op,
            role: ROLE_TARGET,
            ..layout::FirstIo::default()
        };
        let comm = process.comm.clone();
        self.emit(call.time_ns, EventKind::FirstIo { first, comm });
    }

    /// Hands out the rows of a process. Returns bytes and calls of its writes to what is not watched.
    pub(super) fn flush_rows(&mut self, tgid: i32) -> (u64, u64) {
        let Some(process) = self.processes.get_mut(&tgid) else { return (0, 0) };
        let (id, rows) = (process.id, std::mem::take(&mut process.rows));
        self.open_rows = self.open_rows.saturating_sub(rows.len());
        let (mut bytes, mut calls) = (0u64, 0u64);
        for ((number, fd, direction), row) in rows {
            let object = number.and_then(|number| self.objects.get_mut(number));
            let key = LedgerKey { process: id, object: ObjectId::NONE, fd, direction };
            match object {
                None => self.out.rows.push((key, row)),
                Some(object) if object.is_watched && object.id.is_some() => {
                    let key = LedgerKey { object: object.id.unwrap_or_default(), ..key };
                    self.out.rows.push((key, row));
                }
                Some(object) => {
                    if direction == WRITE {
                        bytes = bytes.saturating_add(row.bytes);
                        calls = calls.saturating_add(row.calls);
                    }
                    if !object.keep(key, row) {
                        self.lose(LossReason::GuestTablesFull, row.bytes);
                    }
                }
            }
        }
        (bytes, calls)
    }

    /// The calls of a process in which threads may be blocked end: it has ended, or has a new image.
    pub(super) fn forget_pending(&mut self, tgid: i32) {
        let calls = self.pending.range((tgid, i32::MIN)..=(tgid, i32::MAX));
        let threads: Vec<(i32, i32)> = calls.map(|(thread, _)| *thread).collect();
        for thread in threads {
            self.pending.remove(&thread);
        }
    }

    /// Threads that have begun to write and have not returned. A pipe is then full: gVisor does not tell how full, but a
    /// write of more than a page fills it.
    pub(super) fn tell_blocked_threads(&mut self, time_ns: u64) {
        for ((tgid, tid), call) in std::mem::take(&mut self.pending) {
            let Some(process) = self.processes.get(&tgid) else { continue };
            let (id, comm, fd) = (process.id, process.comm.clone(), process.fds.get(call.fd));
            let state = self.state(fd);
            let thread = BlockedThread {
                process: id,
                tid: tid.unsigned_abs(),
                call: BlockedCall::Write,
                fd: call.fd,
                object: (state.object != ObjectId::NONE).then_some(state.object),
                ..BlockedThread::default()
            };
            self.emit(time_ns, EventKind::BlockedThread(thread));
            let queue = fd
                .and_then(|fd| self.objects.get(fd.object)?.full_queue(call.count, call.is_bytes));
            if let Some(queue) = queue {
                let holder = layout::Holder {
                    process: id,
                    state,
                    fd: call.fd,
                    role: ROLE_TARGET,
                    queue,
                    ..layout::Holder::default()
                };
                self.emit(time_ns, EventKind::Holder { holder, comm, sighting: Sighting::Open });
            }
        }
    }
}

/// The operation of a call, and whether its count is bytes rather than segments.
fn operation(sysno: u64) -> (u32, bool) {
    match i64::try_from(sysno).unwrap_or(-1) {
        libc::SYS_read => (op::READ, true),
        libc::SYS_write => (op::WRITE, true),
        libc::SYS_pread64 => (op::PREAD64, true),
        libc::SYS_pwrite64 => (op::PWRITE64, true),
        libc::SYS_readv => (op::READV, false),
        libc::SYS_writev => (op::WRITEV, false),
        libc::SYS_preadv => (op::PREADV, false),
        libc::SYS_pwritev => (op::PWRITEV, false),
        libc::SYS_preadv2 => (op::PREADV2, false),
        libc::SYS_pwritev2 => (op::PWRITEV2, false),
        _ => (OTHER, false),
    }
}

/// The code of [`op::NAMES`] for a call that has none of its own.
const OTHER: u32 = 23;
