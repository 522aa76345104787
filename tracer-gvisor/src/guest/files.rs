//! Calls that change what fds lead to.

use tracer_common::{event as layout, event::fact};
use tracer_core::{
    event::{EventKind, Sighting},
    session::LossReason,
};

use super::Guest;
use crate::{
    fds::Fd,
    objects::{Kind, Number},
    wire::{self, Context, Returned, text},
};

const CLOEXEC: u32 = libc::O_CLOEXEC as u32;

impl Guest {
    /// The process of a call that succeeded, its result, and the time.
    pub(super) fn success(
        &mut self,
        context: Option<&Context>,
        exit: Option<Returned>,
    ) -> Option<(i32, i32, u64)> {
        let Some(context) = context else {
            self.lose(LossReason::GuestUnreadable, 0);
            return None;
        };
        let result = exit?.outcome().ok()?;
        let tgid = self.process_of(context)?;
        Some((tgid, i32::try_from(result).ok()?, self.time(context)))
    }

    /// Sets what an fd leads to.
    pub(super) fn set(&mut self, tgid: i32, number: i32, to: Fd, time_ns: u64) {
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let before = process.fds.set(number, to);
        if before == Some(to) {
            return;
        }
        if let Some(before) = before {
            self.tell_closed(tgid, number, before, time_ns);
        }
        let is_standard = (0..3).contains(&number);
        if is_standard {
            self.watch(to.object, time_ns);
        }
        if self.is_read_end(to) {
            self.tell_end(tgid, number, to, Sighting::Open, time_ns);
        }
        if is_standard {
            self.fact(tgid, fact::FD_REPLACED, number, 0, Some(to), &[], time_ns);
        }
    }

    /// An fd was closed.
    pub(super) fn tell_closed(&mut self, tgid: i32, number: i32, fd: Fd, time_ns: u64) {
        if self.is_read_end(fd) {
            self.tell_end(tgid, number, fd, Sighting::Closed, time_ns);
        }
    }

    /// Tells a fact, if there is room for one more of this image.
    #[expect(clippy::too_many_arguments, reason = "the members of one record")]
    pub(super) fn fact(
        &mut self,
        tgid: i32,
        kind: u32,
        fd: i32,
        errno: u32,
        about: Option<Fd>,
        said: &[u8],
        time_ns: u64,
    ) {
        let state = self.state(about);
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let kind = match process.facts_left {
            0 => return,
            1 => fact::CUT,
            _ => kind,
        };
        process.facts_left -= 1;
        let fact = layout::Fact { process: process.id, fact: kind, fd, errno, detail: 1, state };
        let most = tracer_common::limits::FACT;
        let said = said.get(..most).unwrap_or(said).to_vec();
        self.emit(time_ns, EventKind::Fact { fact, text: said });
    }

    pub(super) fn opened(&mut self, call: &wire::Open) {
        let Some((tgid, fd, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        let path = text(&call.path);
        // The path of a relative name is told by the first call on the fd.
        let container = self.container(tgid);
        let is_terminal = path == "/dev/ptmx" || path == "/dev/pts/ptmx";
        let terminal = is_terminal.then(|| self.objects.terminal_opened(container, time_ns));
        let object = terminal.flatten().or_else(|| match path.starts_with('/') {
            true => self.objects.named(container, &path),
            false => self.objects.created(Kind::File, 0, time_ns),
        });
        let Some(object) = object else { return };
        let flags = call.flags;
        let open = Fd { object, flags, closes_on_exec: flags & CLOEXEC != 0 };
        self.set(tgid, fd, open, time_ns);
        let cuts = flags & libc::O_TRUNC as u32 != 0;
        if cuts && self.objects.get(object).is_some_and(|object| object.is_watched) {
            self.fact(tgid, fact::FILE_CUT, fd, 0, Some(open), &[], time_ns);
        }
    }

    pub(super) fn closed(&mut self, call: &wire::Close) {
        let Some((tgid, _, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        let Ok(number) = i32::try_from(call.fd) else { return };
        self.close(tgid, number, time_ns);
    }

    pub(super) fn close(&mut self, tgid: i32, number: i32, time_ns: u64) {
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let Some(fd) = process.fds.close(number) else { return };
        self.tell_closed(tgid, number, fd, time_ns);
        if (0..3).contains(&number) {
            self.fact(tgid, fact::FD_CLOSED, number, 0, None, &[], time_ns);
        }
    }

    pub(super) fn pipe(&mut self, call: &wire::Pipe) {
        let Some((tgid, _, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        let Some(object) = self.objects.created(Kind::Pipe, 0, time_ns) else { return };
        let open = Fd { object, flags: call.flags, closes_on_exec: call.flags & CLOEXEC != 0 };
        self.set(tgid, call.reader, open, time_ns);
        let flags = call.flags | libc::O_WRONLY as u32;
        self.set(tgid, call.writer, Fd { flags, ..open }, time_ns);
    }

    fn new_socket(&mut self, kind: i32, time_ns: u64) -> Option<(Number, Fd)> {
        let kind = kind.cast_unsigned();
        // The type is in the low bits (`SOCK_TYPE_MASK`), flags are as for `open`.
        let object = self.objects.created(Kind::Socket, (kind & 0xf) as u16, time_ns)?;
        let flags = kind & libc::O_NONBLOCK as u32 | libc::O_RDWR as u32;
        Some((object, Fd { object, flags, closes_on_exec: kind & CLOEXEC != 0 }))
    }

    pub(super) fn socket(&mut self, call: &wire::Socket) {
        let Some((tgid, fd, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        if let Some((number, open)) = self.new_socket(call.kind, time_ns) {
            // Its other end is not known, so it was not empty for certain.
            if let Some(object) = self.objects.get_mut(number) {
                object.created_ns = None;
            }
            self.set(tgid, fd, open, time_ns);
        }
    }

    pub(super) fn accepted(&mut self, call: &wire::Accept) {
        let kind = libc::SOCK_STREAM | call.flags;
        let (context, exit) = (call.context.clone(), call.exit);
        self.socket(&wire::Socket { context, exit, kind });
    }

    pub(super) fn socket_pair(&mut self, call: &wire::SocketPair) {
        let Some((tgid, _, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        let Some((one, first)) = self.new_socket(call.kind, time_ns) else { return };
        let Some((other, second)) = self.new_socket(call.kind, time_ns) else { return };
        for (socket, peer) in [(one, other), (other, one)] {
            if let Some(object) = self.objects.get_mut(socket) {
                object.peer = Some(peer);
            }
        }
        self.set(tgid, call.one, first, time_ns);
        self.set(tgid, call.other, second, time_ns);
    }

    pub(super) fn duplicated(&mut self, call: &wire::Dup) {
        let Some((tgid, _, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        // `dup` returns the new fd, and gVisor gives it as an argument of the others.
        let new = match call.new {
            0 => call.exit.and_then(|exit| i32::try_from(exit.result).ok()).unwrap_or(0),
            new => new,
        };
        let path = text(&call.path);
        self.duplicate(tgid, (call.old, new), call.flags & CLOEXEC != 0, &path, time_ns);
    }

    fn duplicate(
        &mut self,
        tgid: i32,
        (old, new): (i32, i32),
        closes: bool,
        path: &str,
        time_ns: u64,
    ) {
        if old == new {
            return;
        }
        let Some(number) = self.leads_to(tgid, old, path, libc::O_RDWR as u32, time_ns) else {
            return;
        };
        let known = self.processes.get(&tgid).and_then(|process| process.fds.get(old));
        let flags = known.map_or(libc::O_RDWR as u32, |fd| fd.flags);
        self.set(tgid, new, Fd { object: number, flags, closes_on_exec: closes }, time_ns);
    }

    /// The object behind an fd, by the table and by the path that the call tells.
    pub(super) fn leads_to(
        &mut self,
        tgid: i32,
        fd: i32,
        path: &str,
        flags: u32,
        time_ns: u64,
    ) -> Option<Number> {
        let known = self.processes.get(&tgid)?.fds.get(fd).map(|fd| fd.object);
        let was_named = known.is_some_and(|number| self.objects.id(number).is_some());
        let number = self.objects.seen(self.container(tgid), known, path)?;
        if known != Some(number) {
            let process = self.processes.get_mut(&tgid)?;
            process.fds.found(fd, number, flags);
            if process.is_stranger && known.is_none() && (0..3).contains(&fd) {
                self.stream_found(tgid, fd, time_ns);
            }
        }
        let object = self.objects.get(number)?;
        if object.is_watched && !was_named && object.id.is_some() && known == Some(number) {
            self.announce(number, time_ns);
        }
        Some(number)
    }

    pub(super) fn fcntl(&mut self, call: &wire::Fcntl) {
        let Some((tgid, result, time_ns)) = self.success(call.context.as_ref(), call.exit) else {
            return;
        };
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        match call.command {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => {
                let closes = call.command == libc::F_DUPFD_CLOEXEC;
                self.duplicate(tgid, (call.fd, result), closes, "", time_ns);
            }
            libc::F_SETFD => process
                .fds
                .set_closes_on_exec(call.fd, call.argument & i64::from(libc::FD_CLOEXEC) != 0),
            libc::F_SETFL if call.argument & i64::from(libc::O_NONBLOCK) != 0 => {
                process.fds.set_nonblocking(call.fd);
                if let Some(fd) = process.fds.get(call.fd)
                    && !std::mem::replace(&mut process.nonblocking, true)
                {
                    self.fact(tgid, fact::NONBLOCK, call.fd, 0, Some(fd), &[], time_ns);
                }
            }
            libc::F_SETPIPE_SZ => {
                let open = process.fds.get(call.fd);
                if let Some(object) = open.and_then(|fd| self.objects.get_mut(fd.object)) {
                    object.capacity = u64::from(result.unsigned_abs());
                }
            }
            _ => {}
        }
    }

    pub(super) fn connected(&mut self, call: &wire::Connect) {
        let Some(context) = &call.context else { return self.lose(LossReason::GuestUnreadable, 0) };
        let Some(Err(errno)) = call.exit.map(Returned::outcome) else { return };
        let Some(tgid) = self.process_of(context) else { return };
        let (fd, time_ns) = (i32::try_from(call.fd).unwrap_or(-1), self.time(context));
        if errno != libc::EINPROGRESS as u32 {
            self.fact(tgid, fact::CONNECT_FAILED, fd, errno, None, &call.address, time_ns);
        }
    }

    /// An `execve` has returned. Only this message has the path that the guest gave, and so the name that it has now.
    pub(super) fn exec_returned(&mut self, call: &wire::Execve) {
        let Some(context) = &call.context else { return self.lose(LossReason::GuestUnreadable, 0) };
        let Some(outcome) = call.exit.map(Returned::outcome) else { return };
        let Some(tgid) = self.process_of(context) else { return };
        let time_ns = self.time(context);
        match outcome {
            Err(errno) => {
                self.fact(tgid, fact::EXEC_FAILED, -1, errno, None, &call.path, time_ns);
            }
            Ok(_) => self.named(tgid, &text(&call.path), time_ns),
        }
    }
}
