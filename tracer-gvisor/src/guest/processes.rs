//! Starts, images and ends of guest processes.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{id::ProcessId, limits, object::FdState, process::ROLE_TARGET};
use tracer_core::{
    event::{EventKind, Exit, Image, Sighting},
    session::LossReason,
};

use super::{Guest, MOST_PROCESSES, MOST_THREADS, Process};
use crate::{
    fds::{Fd, Fds},
    procfs::Running,
    wire::{self, Context, text},
};

/// `CLONE_FILES` (`clone(2)`): the new process shares the table of fds.
const CLONE_FILES: u64 = libc::CLONE_FILES as u64;

impl Guest {
    /// The identity of a guest process.
    fn identity_of(&self, tgid: i32, start_real_ns: i64) -> ProcessId {
        let start_ns = self.boot_ns(start_real_ns);
        ProcessId { sandbox: self.identity.number, ..ProcessId::new(tgid.unsigned_abs(), start_ns) }
    }

    /// The process of a message. One that was not known yet was there before, or its start was dropped.
    pub(super) fn process_of(&mut self, context: &Context) -> Option<i32> {
        let tgid = context.tgid;
        let id = self.identity_of(tgid, context.start_ns);
        match self.processes.get(&tgid) {
            Some(known) if known.id == id => {
                self.is_in(tgid, &context.container);
                return Some(tgid);
            }
            // Its end was dropped, and its pid is in use again.
            Some(_) => self.end_process(tgid, None, id.start_ns),
            None => {}
        }
        let container = self.container_with(&context.container);
        self.add(tgid, id, container, None)?.is_stranger = true;
        self.has_strangers = true;
        let time_ns = self.time(context);
        self.tell_again(tgid, <[FdState; 3]>::default(), time_ns);
        Some(tgid)
    }

    fn add(
        &mut self,
        tgid: i32,
        id: ProcessId,
        container: u32,
        threads: Option<BTreeSet<i32>>,
    ) -> Option<&mut Process> {
        if self.processes.len() >= MOST_PROCESSES {
            self.lose(LossReason::GuestTablesFull, 0);
            return None;
        }
        let process = Process {
            id,
            container,
            comm: String::new(),
            is_stranger: false,
            streams: <[FdState; 3]>::default(),
            fds: Fds::default(),
            threads,
            status: None,
            rows: BTreeMap::new(),
            facts_left: limits::FACTS_PER_PROCESS,
            nonblocking: false,
        };
        self.processes.insert(tgid, process);
        self.processes.get_mut(&tgid)
    }

    /// A container's first process is about to run: its fds 0, 1 and 2 are the files that were handed in.
    pub(super) fn started(&mut self, start: wire::Start) {
        let Some(context) = start.context else { return self.lose(LossReason::GuestUnreadable, 0) };
        let (tgid, time_ns) = (context.tgid, self.time(&context));
        let id = self.identity_of(tgid, context.start_ns);
        if self.processes.contains_key(&tgid) {
            return;
        }
        let place = self.container_with(&context.container);
        if self.add(tgid, id, place, Some(BTreeSet::from([context.tid]))).is_none() {
            return;
        }
        self.objects.container_started(place);
        // Only those of the first container are known outside.
        let container = format!("container {}", text(&context.container));
        let other_container = self.has_streams.then_some(&*container);
        for fd in 0..3 {
            self.hand_in(tgid, fd, other_container);
        }
        self.has_streams = true;
        let argv: Vec<String> = start.argv.iter().map(|argument| text(argument)).collect();
        let comm = argv.first().map_or_else(String::new, |path| comm_of(path));
        self.tell_image(tgid, &comm, argv, self.identity.sentry, time_ns, true);
    }

    /// A container's first process has a file of the host as a standard stream.
    fn hand_in(&mut self, tgid: i32, fd: i32, other_container: Option<&str>) {
        let object = self.objects.handed_in(fd, other_container);
        let flags = if fd == 0 { libc::O_RDONLY } else { libc::O_WRONLY };
        if let (Some(object), Some(process)) = (object, self.processes.get_mut(&tgid)) {
            process.fds.set(fd, Fd { object, flags: flags as u32, closes_on_exec: false });
        }
    }

    /// A process that runs when the trace session is there, as `runsc trace procfs` lists it. The list is made later than
    /// the session: `told_since_ns` is the real time from which on the session tells every call.
    pub fn was_running(&mut self, running: &Running, told_since_ns: i64, time_ns: u64) {
        let tgid = running.status.pid;
        let id = self.identity_of(tgid, running.start_ns);
        // The runtime started a program in it, if no guest created it.
        let (is_told, is_first) = (running.start_ns > told_since_ns, running.status.parent == 0);
        if is_told && !is_first {
            // A message tells who created it.
            return;
        }
        // The list tells no containers. One that no guest created belongs to the sandbox's own, or to another.
        let container = match self.processes.get(&running.status.parent) {
            Some(parent) => parent.container,
            None if self.processes.is_empty() => 0,
            None => self.new_container(None),
        };
        if !self.processes.contains_key(&tgid) && self.add(tgid, id, container, None).is_some() {
            self.learn(running, is_told, time_ns);
        }
    }

    /// A process that runs now, as `runsc trace procfs` lists it. Gets to know it if it is a stranger.
    pub fn lists(&mut self, running: &Running, time_ns: u64) {
        let tgid = running.status.pid;
        let id = self.identity_of(tgid, running.start_ns);
        if self.processes.get(&tgid).is_some_and(|known| known.id == id && known.is_stranger) {
            // The runtime started a program in it, if no guest created it.
            self.learn(running, running.status.parent == 0, time_ns);
        }
    }

    fn learn(&mut self, running: &Running, executed: bool, time_ns: u64) {
        let tgid = running.status.pid;
        let container = self.container(tgid);
        for open in &running.fds {
            let is_stream = (0..3).contains(&open.number) && open.path.starts_with("host:[");
            let is_first = is_stream && !self.has_streams;
            let object = match is_first {
                true => {
                    let handed_in = self.objects.handed_in(open.number, None);
                    // A terminal is one file for all three.
                    self.objects.seen(container, handed_in, &open.path)
                }
                false => self.objects.open(container, &open.path, open.mode),
            };
            if let (Some(object), Some(process)) = (object, self.processes.get_mut(&tgid)) {
                // The list does not say how a file was opened. Output is written and input is read, most likely.
                let flags = match open.number {
                    0 => libc::O_RDONLY,
                    1 | 2 => libc::O_WRONLY,
                    _ => libc::O_RDWR,
                };
                let fd = Fd { object, flags: flags as u32, closes_on_exec: false };
                process.fds.set(open.number, fd);
            }
        }
        self.has_streams = true;
        let parent = running.status.parent;
        let parent = self.processes.get(&parent).map_or(self.identity.sentry, |known| known.id);
        let argv = running.arguments.clone();
        self.tell_image(tgid, &running.status.comm, argv, parent, time_ns, executed);
    }

    /// A call of a stranger has told one of its standard streams: it has had it from its start, most likely.
    pub(super) fn stream_found(&mut self, tgid: i32, fd: i32, time_ns: u64) {
        let open = self.processes.get(&tgid).and_then(|process| process.fds.get(fd));
        if let Some(open) = open {
            self.watch(open.object, time_ns);
        }
        let state = self.state(open);
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let place = usize::try_from(fd).ok().and_then(|fd| process.streams.get_mut(fd));
        // It may have closed the others meanwhile.
        let Some(place) = place else { return };
        *place = state;
        let streams = process.streams;
        self.tell_again(tgid, streams, time_ns);
    }

    /// Tells the name and the standard streams of a process, as far as they are known by now. Its program is the same.
    fn tell_again(&mut self, tgid: i32, stdio: [FdState; 3], time_ns: u64) {
        let Some(process) = self.processes.get(&tgid) else { return };
        let image = Image {
            process: process.id,
            ns_pid: process.id.tgid,
            role: ROLE_TARGET,
            comm: process.comm.clone(),
            stdio,
            ..Image::default()
        };
        self.emit(time_ns, EventKind::Image(image));
    }

    fn tell_image(
        &mut self,
        tgid: i32,
        comm: &str,
        argv: Vec<String>,
        parent: ProcessId,
        time_ns: u64,
        executed: bool,
    ) {
        let stdio = self.stdio(tgid, time_ns);
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        comm.clone_into(&mut process.comm);
        process.is_stranger = false;
        process.facts_left = limits::FACTS_PER_PROCESS;
        let (argv, argv_bytes) = cut(argv);
        let image = Image {
            process: process.id,
            parent,
            ns_pid: process.id.tgid,
            role: ROLE_TARGET,
            executed,
            late: false,
            comm: comm.to_owned(),
            argv,
            argv_cut: argv_bytes > 0,
            argv_bytes,
            stdio,
            kernel_written: None,
            cgroup: 0,
        };
        self.emit(time_ns, EventKind::Image(image));
    }

    pub(super) fn cloned(&mut self, clone: wire::Clone) {
        let Some(context) = clone.context else { return self.lose(LossReason::GuestUnreadable, 0) };
        let Some(parent) = self.process_of(&context) else { return };
        if clone.tgid == parent {
            if let Some(threads) =
                self.processes.get_mut(&parent).and_then(|known| known.threads.as_mut())
                && threads.len() < MOST_THREADS
            {
                threads.insert(clone.tid);
            }
            return;
        }
        let time_ns = self.time(&context);
        let id = self.identity_of(clone.tgid, clone.start_ns);
        let Some((parent_id, comm, fds)) = self
            .processes
            .get(&parent)
            .map(|known| (known.id, known.comm.clone(), known.fds.clone()))
        else {
            return;
        };
        if clone.flags & CLONE_FILES != 0 {
            // A change that one of them makes concerns both, and is told of one.
            self.lose(LossReason::GuestCallsNotTold, 0);
        }
        match self.processes.get_mut(&clone.tgid) {
            // The list of what ran before was made after this message.
            Some(known) if known.id == id => {
                known.threads.get_or_insert_with(|| BTreeSet::from([clone.tid]));
                return;
            }
            Some(_) => self.end_process(clone.tgid, None, time_ns),
            None => {}
        }
        let (container, threads) = (self.container(parent), BTreeSet::from([clone.tid]));
        let Some(process) = self.add(clone.tgid, id, container, Some(threads)) else { return };
        process.comm.clone_from(&comm);
        process.fds = fds;
        let ns_pid = id.tgid;
        self.emit(time_ns, EventKind::Fork { parent: parent_id, child: id, ns_pid, comm });
        self.tell_read_ends(clone.tgid, time_ns);
    }

    /// Tells of the read ends that a new process has inherited.
    fn tell_read_ends(&mut self, tgid: i32, time_ns: u64) {
        let Some(process) = self.processes.get(&tgid) else { return };
        let open = process.fds.iter().filter(|(_, fd)| self.is_read_end(*fd));
        let open: Vec<(i32, Fd)> = open.collect();
        for (number, fd) in open {
            self.tell_end(tgid, number, fd, Sighting::Open, time_ns);
        }
    }

    pub(super) fn executed(&mut self, exec: &wire::Exec) {
        let Some(context) = &exec.context else { return self.lose(LossReason::GuestUnreadable, 0) };
        let Some(tgid) = self.process_of(context) else { return };
        let time_ns = self.time(context);
        self.forget_pending(tgid);
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        // gVisor does not tell the ends of the other threads. The thread that called is the first one now.
        process.threads = Some(BTreeSet::from([tgid]));
        let closed = process.fds.close_if(|_, fd| fd.closes_on_exec);
        for (number, fd) in closed {
            self.tell_closed(tgid, number, fd, time_ns);
        }
        let argv: Vec<String> = exec.argv.iter().map(|argument| text(argument)).collect();
        self.tell_image(
            tgid,
            &comm_of(&text(&exec.path)),
            argv,
            ProcessId::default(),
            time_ns,
            true,
        );
    }

    /// A process has the name of the path that it executed: `sentry/execve` tells the file to which that leads.
    pub(super) fn named(&mut self, tgid: i32, path: &str, time_ns: u64) {
        let comm = comm_of(path);
        let has_new_name = |process: &&mut Process| !comm.is_empty() && process.comm != comm;
        let Some(process) = self.processes.get_mut(&tgid).filter(has_new_name) else { return };
        process.comm = comm;
        let stdio = self.stdio(tgid, time_ns);
        self.tell_again(tgid, stdio, time_ns);
    }

    pub(super) fn thread_ended(&mut self, ended: &wire::Ended) {
        let Some(context) = &ended.context else {
            return self.lose(LossReason::GuestUnreadable, 0);
        };
        let Some(tgid) = self.process_of(context) else { return };
        let time_ns = self.time(context);
        self.pending.remove(&(tgid, context.tid));
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        process.status = Some(ended.status);
        if process.comm.is_empty() {
            process.comm = comm_of(&text(&context.name));
        }
        let is_last = process.threads.as_mut().is_some_and(|threads| {
            threads.remove(&context.tid);
            threads.is_empty()
        });
        if is_last {
            self.end_process(tgid, Some(ended.status), time_ns);
        }
    }

    pub(super) fn process_ended(&mut self, ended: &wire::Ended) {
        let Some(context) = &ended.context else {
            return self.lose(LossReason::GuestUnreadable, 0);
        };
        let id = self.identity_of(context.tgid, context.start_ns);
        if self.processes.get(&context.tgid).is_some_and(|known| known.id == id) {
            let time_ns = self.time(context);
            self.end_process(context.tgid, Some(ended.status), time_ns);
        }
    }

    /// A process has ended. Without a status, its end was not told.
    pub(super) fn end_process(&mut self, tgid: i32, status: Option<i32>, time_ns: u64) {
        let stdio = self.stdio(tgid, time_ns);
        let (other_bytes, other_calls) = self.flush_rows(tgid);
        let Some(process) = self.processes.remove(&tgid) else { return };
        self.forget_pending(tgid);
        let exit = Exit {
            process: process.id,
            status: status.unwrap_or(0).cast_unsigned(),
            is_status_unknown: status.is_none(),
            comm: process.comm,
            stdio,
            other_bytes,
            other_calls,
            ..Exit::default()
        };
        if status.is_none() {
            self.lose(LossReason::GuestEndsNotTold, 0);
        }
        self.emit(time_ns, EventKind::Exit(exit));
    }
}

/// The name that Linux would give to a process that executes this file.
fn comm_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let end = name.char_indices().map(|(at, _)| at).take_while(|at| *at < limits::COMM).last();
    let fits = name.len() < limits::COMM;
    if fits { name.to_owned() } else { name[..end.unwrap_or(0)].to_owned() }
}

/// Arguments of at most [`limits::ARGV`] bytes, and the bytes of all if they have more, else 0.
fn cut(mut argv: Vec<String>) -> (Vec<String>, u64) {
    let all: usize = argv.iter().map(|argument| argument.len() + 1).sum();
    let mut left = limits::ARGV;
    let kept = argv.iter().take_while(|argument| {
        let fits = argument.len() < left;
        left = left.saturating_sub(argument.len() + 1);
        fits
    });
    let kept = kept.count();
    let is_cut = kept < argv.len();
    argv.truncate(kept.max(1));
    (argv, if is_cut { all as u64 } else { 0 })
}
