//! Applies events to the session.

use tracer_common::{
    event as layout,
    event::fact,
    id::ProcessId,
    ledger::READ,
    object::{FdState, ObjectId},
    process::ROLE_TARGET,
};

use super::{
    Close, CutKind, Fact, FactKind, Holding, Kind, Object, Process, Session, holders::can_read,
};
use crate::event::{Event, EventKind, Exit, Image, Sighting};

impl Session {
    /// Applies one event. Events may arrive in any order and more than once.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Fork { parent, child, ns_pid, comm } => {
                self.forked(*parent, *child, *ns_pid, comm);
            }
            EventKind::Image(image) => self.image(image, event.time_ns),
            EventKind::Exit(exit) => self.ended(exit, event.time_ns),
            EventKind::Object { object, name } => {
                self.object_seen(object, name, event.time_ns);
            }
            EventKind::FirstIo { first, comm } => {
                let process = self.process(first.key.process);
                process.is_target |= first.role == ROLE_TARGET;
                if process.comm.is_empty() {
                    process.comm.clone_from(comm);
                }
                let key = first.key;
                if key.direction == READ && self.object_kind(&key.object).passes_on() {
                    self.end_opened(key.process, key.fd, key.object);
                }
            }
            EventKind::Fact { fact, text } => {
                let fact_kind = fact_kind(fact.fact);
                let about = self.about(fact.fact, &fact.state, text);
                let Some(kind) = fact_kind else { return };
                self.process(fact.process).learn(Fact {
                    time_ns: event.time_ns,
                    kind,
                    fd: (fact.fd >= 0).then_some(fact.fd),
                    errno: fact.errno,
                    about,
                    object: (!fact.state.object.is_none()).then_some(fact.state.object),
                    cut: CutKind::of(if kind == FactKind::FileCut { fact.detail } else { 0 }),
                });
            }
            EventKind::Holder { holder, comm, sighting } => {
                self.end_seen(holder, comm, *sighting, event.time_ns);
            }
            seen => self.observed(seen),
        }
    }

    /// Marks a process that tracer itself started: it was created before the hooks were attached, but had not run
    /// yet.
    pub fn started_here(&mut self, tgid: u32) {
        let is_it = |process: &&Process| process.id.tgid == tgid;
        let known: Vec<_> = self.processes.values().filter(is_it).map(|known| known.id).collect();
        for id in known {
            self.process(id).attached_late = false;
        }
    }

    /// Begins a new survey: forgets the holders of all objects.
    pub fn begin_survey(&mut self) {
        // Only the objects of the latest survey, because a recording can have as many surveys as lines.
        for object in std::mem::take(&mut self.surveyed) {
            if let Some(known) = self.objects.get_mut(&object) {
                known.holders.clear();
            }
        }
    }

    fn process(&mut self, id: ProcessId) -> &mut Process {
        self.processes.get_or_add(id)
    }

    fn forked(&mut self, parent: ProcessId, child: ProcessId, ns_pid: u32, comm: &str) {
        let (argv, argv_bytes, stdio) = self
            .processes
            .get(&parent)
            .map(|parent| (parent.argv.clone(), parent.argv_bytes, parent.stdio))
            .unwrap_or_default();
        let process = self.process(child);
        process.parent = parent;
        process.ns_pid = ns_pid;
        process.is_target = true;
        if process.comm.is_empty() {
            process.comm = comm.to_owned();
        }
        if process.argv.is_empty() {
            (process.argv, process.argv_bytes) = (argv, argv_bytes);
        }
        process.stdio = process.stdio.or(stdio);
        process.kernel_written_before = Some(0);
    }

    fn image(&mut self, image: &Image, time_ns: u64) {
        let started_before = image.process.start_ns < self.start_ns;
        let process = self.process(image.process);
        if image.executed && !process.comm.is_empty() {
            process.keep_image(time_ns);
        }
        // Keeps the parent that created it, even after that parent has ended and init has adopted the process.
        if process.parent == ProcessId::default() {
            process.parent = image.parent;
        }
        process.ns_pid = image.ns_pid;
        process.comm.clone_from(&image.comm);
        process.stdio = Some(image.stdio);
        process.is_target |= image.role == ROLE_TARGET;
        if image.executed {
            process.executed = true;
            // The earlier failures were the search along PATH.
            process.facts.retain(|fact| fact.kind != FactKind::ExecFailed);
        } else {
            process.attached_late = started_before || image.late;
            process.kernel_written_before = process.kernel_written_before.or(image.kernel_written);
        }
        if image.executed || !image.argv.is_empty() {
            process.argv = image.argv.as_slice().into();
            process.argv_bytes = image.argv_cut.then(|| bytes_of(&image.argv, image.argv_bytes));
        }
    }

    fn ended(&mut self, exit: &Exit, time_ns: u64) {
        let process = self.process(exit.process);
        process.end_ns = Some(time_ns);
        process.status = (!exit.is_status_unknown).then_some(exit.status);
        process.stdio_at_end = Some(exit.stdio);
        process.other_bytes = Some(exit.other_bytes);
        process.other_calls = Some(exit.other_calls);
        process.other_refusals =
            (exit.other_failed > 0).then_some((exit.other_failed, exit.other_errno));
        process.interrupted = exit.interrupted;
        process.kernel_written = exit.kernel_written;
        if process.comm.is_empty() {
            process.comm.clone_from(&exit.comm);
        }
        let comm = process.comm.clone();
        self.note_inherited_ends(exit);
        self.close_ends_of(exit.process, &comm, time_ns);
        for (fd, state) in exit.stdio.iter().enumerate() {
            self.saw_queues(state.object, exit.queues[fd], exit.incoming[fd], time_ns);
        }
        for ((state, size), removed) in exit.stdio.iter().zip(exit.sizes).zip(exit.removed) {
            self.saw_file(&state.object, size, removed == 1, time_ns);
        }
    }

    /// A read end on a standard fd was inherited or came by `dup2`; it may never have been read from.
    fn note_inherited_ends(&mut self, exit: &Exit) {
        for (fd, state) in (0..).zip(exit.stdio) {
            let kind = self.object_kind(&state.object);
            if kind.is_pipe() && can_read(state.flags) {
                self.end_opened(exit.process, fd, state.object);
            }
        }
    }

    /// The size of a file as an open fd shows it, even if its path no longer leads to it.
    fn saw_file(&mut self, id: &ObjectId, size: u64, is_removed: bool, time_ns: u64) {
        let Some(known) = self.objects.get_mut(id).filter(|known| known.kind == Kind::File) else {
            return;
        };
        known.size_after = Some(size);
        if is_removed && known.removed_ns.is_none() {
            known.removed_ns = Some(time_ns);
        }
    }

    fn object_seen(&mut self, seen: &layout::Object, name: &str, time_ns: u64) {
        let object = Object::first_seen(seen, name.to_owned(), time_ns);
        if !seen.joined.is_none() {
            self.join(seen.id, seen.joined);
        }
        self.add_object(object);
    }

    fn join(&mut self, one: ObjectId, other: ObjectId) {
        self.joined.insert(one, other);
        self.joined.insert(other, one);
    }

    fn end_seen(&mut self, end: &layout::Holder, comm: &str, sighting: Sighting, time_ns: u64) {
        let (process, fd, object) = (end.process, end.fd, end.state.object);
        self.saw_queues(object, end.queue, end.incoming, time_ns);
        if sighting == Sighting::Open {
            self.saw_file(&object, end.size, end.removed == 1, time_ns);
        }
        let holding =
            Holding { process, comm: comm.to_owned(), fd, flags: end.state.flags, time_ns };
        match sighting {
            Sighting::Created => {
                self.created.insert(object);
                self.end_opened(process, fd, object);
            }
            Sighting::Closed | Sighting::Left => {
                let by_exit = sighting == Sighting::Left;
                self.end_closed(
                    object,
                    Close { process, comm: holding.comm, fd, time_ns, by_exit },
                );
            }
            // For a moment after the end of a process, a survey still finds its fds.
            Sighting::Open if self.has_ended(process) => {}
            Sighting::Open => {
                let passes_on = self.object_kind(&object).passes_on();
                if passes_on && holding.reads() {
                    self.end_opened(process, fd, object);
                }
                if let Some(known) = self.objects.get_mut(&object) {
                    known.holders.saw(holding);
                    self.surveyed.insert(object);
                }
                self.joined_late(end);
            }
        }
    }

    fn has_ended(&self, process: ProcessId) -> bool {
        self.processes.get(&process).is_some_and(|known| known.end_ns.is_some())
    }

    /// Joins a socket whose other end was not yet accepted when the socket came under watch.
    fn joined_late(&mut self, end: &layout::Holder) {
        let one = end.state.object;
        let other = ObjectId { ino: end.peer_ino, ..one };
        if end.peer_ino != 0 && !self.joined.contains_key(&one) && self.objects.contains_key(&other)
        {
            self.join(one, other);
        }
    }

    fn about(&self, kind: u32, state: &FdState, text: &[u8]) -> String {
        match kind {
            fact::CONNECT_FAILED => socket_address(text),
            fact::FD_REPLACED | fact::NONBLOCK | fact::FILE_CUT => self.object_name(&state.object),
            _ => {
                let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8_lossy(name).into_owned()
            }
        }
    }
}

/// Bytes that all arguments have, NUL bytes included: those of the kept ones, if their number is unknown (0).
pub(super) fn bytes_of(kept: &[String], all: u64) -> u64 {
    let kept: usize = kept.iter().map(|argument| argument.len() + 1).sum();
    if all == 0 { kept as u64 } else { all }
}

fn fact_kind(kind: u32) -> Option<FactKind> {
    match kind {
        fact::TTY_ASKED => Some(FactKind::TtyAsked),
        fact::CONNECT_FAILED => Some(FactKind::ConnectFailed),
        fact::EXEC_FAILED => Some(FactKind::ExecFailed),
        fact::FD_REPLACED => Some(FactKind::FdReplaced),
        fact::FD_CLOSED => Some(FactKind::FdClosed),
        fact::NONBLOCK => Some(FactKind::Nonblock),
        fact::CUT => Some(FactKind::Cut),
        fact::EMULATED => Some(FactKind::Emulated),
        fact::FD_RACED => Some(FactKind::FdRaced),
        fact::FILE_CUT => Some(FactKind::FileCut),
        fact::STDOUT_STAT => Some(FactKind::StdoutStat),
        _ => None,
    }
}

/// Formats a raw `sockaddr`: `unix:/run/x.sock`, `127.0.0.1:5000`, `[::1]:5000`.
fn socket_address(raw: &[u8]) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let field = |at: usize| raw.get(at).copied().unwrap_or(0);
    let family = u16::from_ne_bytes([field(0), field(1)]);
    let port = u16::from_be_bytes([field(2), field(3)]);
    match family {
        1 => {
            let path = raw.get(2..).unwrap_or_default();
            let (mark, path) = match path.split_first() {
                Some((0, rest)) => ("@", rest),
                _ => ("", path),
            };
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            format!("unix:{mark}{}", String::from_utf8_lossy(&path[..end]))
        }
        2 => {
            let address = Ipv4Addr::new(field(4), field(5), field(6), field(7));
            SocketAddr::from((address, port)).to_string()
        }
        10 => {
            let mut octets = [0; 16];
            for (at, octet) in octets.iter_mut().enumerate() {
                *octet = field(8 + at);
            }
            SocketAddr::from((Ipv6Addr::from(octets), port)).to_string()
        }
        other => format!("an address of family {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_address_is_readable() {
        let mut raw = 1u16.to_ne_bytes().to_vec();
        raw.extend(b"/tmp/nope.sock\0");
        assert_eq!(socket_address(&raw), "unix:/tmp/nope.sock");
    }

    #[test]
    fn an_internet_address_is_readable() {
        let mut raw = 2u16.to_ne_bytes().to_vec();
        raw.extend([0x13, 0x88, 127, 0, 0, 1]);
        assert_eq!(socket_address(&raw), "127.0.0.1:5000");
    }

    #[test]
    fn an_empty_address_does_not_panic() {
        assert_eq!(socket_address(&[]), "an address of family 0");
    }
}
