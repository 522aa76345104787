//! Calls that gVisor tells by number and arguments only.

use tracer_common::{
    event::fact,
    ledger::{READ, WRITE},
    op,
};
use tracer_core::session::LossReason;

use super::Guest;
use crate::{
    numbers,
    row::Call,
    wire::{self, Returned},
};

/// `TCGETS` and `TCGETS2` (`include/uapi/asm-generic/ioctls.h`).
const ASKS_FOR_TERMINAL: [u64; 2] = [0x5401, 0x802c_542a];

/// One side of a transfer.
type Side = (u64, u32);

impl Guest {
    pub(super) fn raw(&mut self, call: &wire::Raw) {
        let Some(exit) = call.exit else { return };
        let outcome = Returned::outcome(exit);
        let Some((tgid, time_ns)) = self.caller(call) else {
            if moves_bytes(call.sysno) && outcome.is_ok_and(|bytes| bytes > 0) {
                self.lose(LossReason::GuestCallsNotTold, 0);
            }
            return;
        };
        let mut sides = |sides: &[Side], requested: Option<u64>, op: u32, outcome| {
            for (fd, direction) in sides {
                let fd = number(*fd);
                let known = self.processes.get(&tgid).and_then(|process| process.fds.get(fd));
                let call = Call { time_ns, outcome, requested, op };
                self.count(tgid, known.map(|fd| fd.object), fd, *direction, &call);
            }
        };
        let peeks = |flags: u64| flags & libc::MSG_PEEK as u64 != 0;
        match call.sysno {
            numbers::SENDFILE => {
                let both = [(call.arg1, WRITE), (call.arg2, READ)];
                sides(&both, Some(call.arg4), op::SENDFILE, outcome);
            }
            numbers::SPLICE => {
                let both = [(call.arg1, READ), (call.arg3, WRITE)];
                sides(&both, Some(call.arg5), op::SPLICE, outcome);
            }
            numbers::COPY_FILE_RANGE => {
                let both = [(call.arg1, READ), (call.arg3, WRITE)];
                sides(&both, Some(call.arg5), op::COPY_FILE_RANGE, outcome);
            }
            numbers::TEE => sides(&[(call.arg2, WRITE)], Some(call.arg3), op::TEE, outcome),
            numbers::SENDTO => sides(&[(call.arg1, WRITE)], Some(call.arg3), op::SENDTO, outcome),
            numbers::SENDMSG => sides(&[(call.arg1, WRITE)], None, op::SENDMSG, outcome),
            // `MSG_TRUNC` returns more than there was room for.
            numbers::RECVFROM if !peeks(call.arg4) => {
                let taken = outcome.map(|bytes| bytes.min(call.arg3));
                sides(&[(call.arg1, READ)], None, op::RECVFROM, taken);
            }
            numbers::RECVMSG if !peeks(call.arg3) => {
                sides(&[(call.arg1, READ)], None, op::RECVMSG, outcome);
            }
            numbers::IOCTL if ASKS_FOR_TERMINAL.contains(&u64::from(call.arg2 as u32)) => {
                let (fd, errno) = (number(call.arg1), outcome.err().unwrap_or(0));
                if (0..3).contains(&fd) {
                    self.fact(tgid, fact::TTY_ASKED, fd, errno, None, &[], time_ns);
                }
            }
            numbers::FTRUNCATE if outcome.is_ok() => self.was_cut(tgid, number(call.arg1), time_ns),
            numbers::CLOSE_RANGE if outcome.is_ok() => self.closed_range(tgid, call, time_ns),
            // Only the number of messages or requests is told, not their bytes.
            numbers::SENDMMSG
            | numbers::RECVMMSG
            | numbers::VMSPLICE
            | numbers::IO_URING_ENTER
            | numbers::IO_SUBMIT
                if outcome.is_ok_and(|done| done > 0) =>
            {
                self.lose(LossReason::GuestCallsNotTold, 0);
            }
            _ => {}
        }
    }

    /// The process that made a call, and the time. Releases of 2022 do not tell either: then it is the only process that
    /// has these fds open, if there is just one.
    fn caller(&mut self, call: &wire::Raw) -> Option<(i32, u64)> {
        if let Some(context) = &call.context {
            return Some((self.process_of(context)?, self.time(context)));
        }
        let fds: &[u64] = match call.sysno {
            numbers::SENDFILE | numbers::TEE => &[call.arg1, call.arg2],
            numbers::SPLICE | numbers::COPY_FILE_RANGE => &[call.arg1, call.arg3],
            numbers::CLOSE_RANGE => &[],
            _ => &[call.arg1],
        };
        let has_all =
            |process: &super::Process| fds.iter().all(|fd| process.fds.get(number(*fd)).is_some());
        let mut callers = self.processes.iter().filter(|(_, process)| has_all(process));
        let (tgid, _) = callers.next()?;
        callers.next().is_none().then_some((*tgid, self.latest_ns))
    }

    fn was_cut(&mut self, tgid: i32, fd: i32, time_ns: u64) {
        let open = self.processes.get(&tgid).and_then(|process| process.fds.get(fd));
        let object = open.and_then(|open| self.objects.get(open.object));
        if object.is_some_and(|object| object.is_watched) {
            self.fact(tgid, fact::FILE_CUT, fd, 0, open, &[], time_ns);
        }
    }

    /// `close_range(first, last, flags)`.
    fn closed_range(&mut self, tgid: i32, call: &wire::Raw, time_ns: u64) {
        let (first, last) = (call.arg1 as u32, call.arg2 as u32);
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let inside = |fd: i32| (first..=last).contains(&fd.cast_unsigned());
        let numbers: Vec<i32> =
            process.fds.iter().map(|(fd, _)| fd).filter(|fd| inside(*fd)).collect();
        let only_marks = call.arg3 as u32 & libc::CLOSE_RANGE_CLOEXEC != 0;
        for fd in numbers {
            if only_marks {
                if let Some(process) = self.processes.get_mut(&tgid) {
                    process.fds.set_closes_on_exec(fd, true);
                }
            } else {
                self.close(tgid, fd, time_ns);
            }
        }
    }
}

/// Whether a call that succeeds moves bytes.
const fn moves_bytes(sysno: u64) -> bool {
    !matches!(sysno, numbers::IOCTL | numbers::FTRUNCATE | numbers::CLOSE_RANGE)
}

/// An fd, as the kernel takes it from a register.
const fn number(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}
