//! What a process that reads output passed on of it.

use std::collections::BTreeMap;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, READ, WRITE},
    object::ObjectId,
    op,
};

use super::{Case, case::GENERATIONS, rows::COPIES, writes::Writes};
use crate::{
    session::{Kind, Process, Uncounted, Witness, is_wake_up},
    text::units,
};

/// Names of the thread of tracer that reads the terminal of `--pty`: today's, and the one in older recordings.
const OWN_THREADS: [&str; 2] = ["tracer", "pty-relay"];

impl Case<'_> {
    /// When a process first read bytes from one of these objects, nanoseconds since boot; `None` if it read none.
    pub(super) fn began_to_read(&self, reader: ProcessId, objects: &[ObjectId]) -> Option<u64> {
        let rows = objects.iter().flat_map(|object| self.session.rows_on(reader, *object, READ));
        rows.filter(|(_, row)| row.bytes > 0).map(|(_, row)| row.first_ns).min()
    }

    /// Whether a process read these objects by calls that copy from fd to fd.
    fn copies_from(&self, reader: ProcessId, objects: &[ObjectId]) -> bool {
        let mut rows =
            objects.iter().flat_map(|object| self.session.rows_on(reader, *object, READ));
        rows.any(|(_, row)| row.ops & COPIES != 0)
    }

    /// Bytes that a process wrote since it began to read these objects, at most; `None` before its end, and if it read
    /// nothing. What it wrote before cannot be of them, and with what it reads itself it only wakes itself up.
    pub(super) fn written_since(&self, process: &Process, objects: &[ObjectId]) -> Option<u64> {
        let began_ns = self.began_to_read(process.id, objects)?;
        let is_copied = self.copies_from(process.id, objects);
        let written = self.writes().since(process.id, began_ns, is_copied);
        let other = process.other_bytes?.saturating_add(process.written_to_ended);
        let is_seen = self.is_followed(objects) && !self.may_write_unseen(process.id);
        // Of what it wrote to forgotten objects, it is not known when.
        // A call that copies from fd to fd writes where it began to read: tracer followed it only afterwards.
        let is_all = is_seen && process.written_to_ended == 0 && !is_copied;
        Some(if is_all { written } else { written.saturating_add(other) })
    }

    /// Bytes that a process wrote at this time (nanoseconds since boot) and later, at most, without those that only wake it up.
    pub(super) fn written_at_or_after(&self, process: ProcessId, time_ns: u64) -> u64 {
        self.writes().since(process, time_ns, false)
    }

    fn writes(&self) -> &Writes {
        self.writes.get_or_init(|| Writes::of(self))
    }

    /// Whether the process of a row writes only to itself: it alone reads there, or it has not read there yet, and no
    /// other process has the pipe as its input. libuv locks its signals with a pipe that has one byte.
    pub(super) fn is_for_itself(&self, key: &LedgerKey) -> bool {
        let is_input = || {
            let readers = self.inputs().get(&key.object);
            readers.is_some_and(|readers| readers.iter().any(|other| *other != key.process))
        };
        let is_unread_pipe = key.fd > 2
            && self.session.object_kind(&key.object) == Kind::Pipe
            && self.flows.get(&key.object).readers.is_empty();
        is_wake_up(self.session, &self.flows, key.process, &key.object)
            || is_unread_pipe && !is_input()
    }

    /// Whether all that a reader of these objects writes is in the ledger since it began to read: what is not was written
    /// before, or woke a thread of its own (eventfd(2)). tracer follows readers of the target's own output.
    fn is_followed(&self, objects: &[ObjectId]) -> bool {
        let hop = |object: &ObjectId| self.session.objects.get(object).map(|known| known.hop);
        let is_first = |object: &ObjectId| {
            let flow = self.flows.get(&self.session.peer(object));
            let kind = self.session.object_kind(object);
            kind.passes_on() && flow.written > 0 && hop(&self.session.peer(object)) == Some(0)
        };
        !self.has_losses() && objects.iter().any(is_first) && self.follows_readers
    }

    /// Whether a process may have written bytes that tracer did not count: through `io_uring` to what is not watched.
    fn may_write_unseen(&self, process: ProcessId) -> bool {
        let of_rings = || {
            let rows = self.session.ledger.iter();
            let by_ring = rows.filter(|(_, row)| row.ops & 1 << op::IO_URING != 0);
            by_ring.map(|(key, _)| key.process).collect()
        };
        let is_missed = |found: &Uncounted| found.by == Witness::Process(process);
        self.of_rings.get_or_init(of_rings).contains(&process)
            || self.flows.uncounted.iter().any(is_missed)
    }

    /// What became of bytes that one process read, if it has ended and wrote less than that: the end of a sentence.
    /// `; cron (pid 7) wrote nothing with any system call`: it may have stored it in a file that it had mapped.
    pub(super) fn passed_on(
        &self,
        reader: ProcessId,
        objects: &[ObjectId],
        bytes: u64,
    ) -> Option<String> {
        let known = self.session.processes.get(&reader)?;
        if !known.is_target || known.started_jobs || self.may_write_unseen(reader) {
            return None;
        }
        let written = self.written_since(known, objects)?;
        let less = bytes.checked_sub(written).filter(|less| *less > 0)?;
        let who = known.short();
        if written > 0 {
            let (written, less) = (units::exact(written), units::exact(less));
            return Some(format!("; {who} wrote {written} in all, {less} less"));
        }
        let began_ns = self.began_to_read(reader, objects)?;
        let started_ns = self.latest_started().get(&reader).copied();
        // It may have got what was read as an argument.
        if self.has_losses() || started_ns >= Some(began_ns) {
            return None;
        }
        Some(format!("; {who} wrote nothing with any system call"))
    }

    /// Whether only tracer itself reads a terminal, the one of `tracer --pty`, and shows what it reads.
    pub(super) fn is_shown_by_tracer(&self, object: &ObjectId) -> bool {
        let is_parent_of_command = |reader: ProcessId| {
            let mut targets = self.session.processes.values().filter(|known| known.is_target);
            targets.any(|known| known.parent == reader)
        };
        let is_tracer = |reader: ProcessId| {
            let known = self.session.processes.get(&reader).filter(|known| !known.is_target);
            known.is_some_and(|known| OWN_THREADS.contains(&known.comm.as_str()))
                && is_parent_of_command(reader)
        };
        let readers = self.flows.get(object).readers.iter().filter(|reader| reader.bytes > 0);
        let mut readers = readers.map(|reader| reader.process).peekable();
        readers.peek().is_some() && readers.all(is_tracer)
    }

    /// When the latest of the processes began that each process started, itself or through those that it started, and that
    /// wrote anything anywhere, or may have; nanoseconds since boot. Computed once.
    fn latest_started(&self) -> &BTreeMap<ProcessId, u64> {
        self.started.get_or_init(|| {
            let mut started: BTreeMap<ProcessId, u64> = BTreeMap::new();
            for process in self.session.processes.values() {
                let mut rows = self.session.rows_of(process.id, WRITE);
                if process.other_bytes == Some(0) && rows.all(|(_, row)| row.bytes == 0) {
                    continue;
                }
                for below in self.session.line_of(process).take(GENERATIONS) {
                    let latest = started.entry(below.parent).or_default();
                    *latest = process.id.start_ns.max(*latest);
                }
            }
            started
        })
    }

    /// The processes that have an object as their stdin. Computed once.
    fn inputs(&self) -> &BTreeMap<ObjectId, Vec<ProcessId>> {
        self.inputs.get_or_init(|| {
            let mut inputs: BTreeMap<ObjectId, Vec<ProcessId>> = BTreeMap::new();
            for process in self.session.processes.values() {
                if let Some(object) = process.stdio_object(0) {
                    inputs.entry(object).or_default().push(process.id);
                }
            }
            inputs
        })
    }
}
