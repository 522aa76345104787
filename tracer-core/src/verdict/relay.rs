//! What a process that reads output passed on of it.

use std::collections::BTreeSet;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, READ, WRITE},
    object::ObjectId,
    op,
};

use super::Case;
use crate::{
    session::{Kind, Process, Uncounted, Witness, is_wake_up, may_be_after},
    text::units,
};

/// Names of the thread of tracer that reads the terminal of `--pty`: today's, and the one in older recordings.
const OWN_THREADS: [&str; 2] = ["tracer", "pty-relay"];

impl Case<'_> {
    /// When a process first read bytes from one of these objects, nanoseconds since boot; `None` if it read none.
    pub(super) fn began_to_read(&self, reader: ProcessId, objects: &[ObjectId]) -> Option<u64> {
        let rows = self.session.rows_of(reader, READ);
        let read = rows.filter(|(key, row)| row.bytes > 0 && objects.contains(&key.object));
        read.map(|(_, row)| row.first_ns).min()
    }

    /// Bytes that a process wrote since it began to read these objects, at most; `None` before its end, and if it read
    /// nothing. What it wrote before cannot be of them, and with what it reads itself it only wakes itself up.
    pub(super) fn written_since(&self, process: &Process, objects: &[ObjectId]) -> Option<u64> {
        let began_ns = self.began_to_read(process.id, objects)?;
        let rows = self.session.rows_of(process.id, WRITE).filter(|(key, row)| {
            let is_file = !self.session.object_kind(&key.object).passes_on();
            let is_after = row.last_ns >= began_ns || is_file && may_be_after(row, began_ns);
            is_after && !self.is_for_itself(process, key)
        });
        let written: u64 = rows.map(|(_, row)| row.bytes).sum();
        let other = process.other_bytes?.saturating_add(process.written_to_ended);
        let is_seen = self.is_followed(objects) && !self.may_write_unseen(process.id);
        // Of what it wrote to forgotten objects, it is not known when.
        let is_all = is_seen && process.written_to_ended == 0;
        Some(if is_all { written } else { written.saturating_add(other) })
    }

    /// Whether a process writes only to itself: it alone reads there, or it has not read there yet, and the pipe is nobody's
    /// input. libuv locks its signals with a pipe that has one byte.
    fn is_for_itself(&self, process: &Process, key: &LedgerKey) -> bool {
        let is_input =
            |other: &Process| other.id != process.id && other.stdio_object(0) == Some(key.object);
        let is_unread_pipe = key.fd > 2
            && self.session.object_kind(&key.object) == Kind::Pipe
            && self.flows.get(&key.object).readers.is_empty();
        is_wake_up(self.session, &self.flows, process.id, &key.object)
            || is_unread_pipe && !self.session.processes.values().any(is_input)
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
        !self.has_losses()
            && objects.iter().any(is_first)
            && self.session.objects.values().any(|known| known.hop > 0)
    }

    /// Whether a process may have written bytes that tracer did not count: through `io_uring` to what is not watched.
    fn may_write_unseen(&self, process: ProcessId) -> bool {
        let is_uring = |direction| {
            let mut rows = self.session.rows_of(process, direction);
            rows.any(|(_, row)| row.ops & 1 << op::IO_URING != 0)
        };
        let is_missed = |found: &Uncounted| found.by == Witness::Process(process);
        is_uring(READ) || is_uring(WRITE) || self.flows.uncounted.iter().any(is_missed)
    }

    /// What became of bytes that one process read, if it has ended and wrote less than that: the end of a sentence.
    /// `; cron (pid 7) wrote nothing anywhere, so it went no further`.
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
        let started = self.started_since(reader, began_ns);
        let has_written = |process: &&Process| {
            let mut rows = self.session.rows_of(process.id, WRITE);
            process.other_bytes != Some(0) || rows.any(|(_, row)| row.bytes > 0)
        };
        // It may have got what was read as an argument.
        if self.has_losses() || started.iter().any(has_written) {
            return None;
        }
        let end = if started.is_empty() { ", so it went no further" } else { "" };
        Some(format!("; {who} wrote nothing anywhere{end}"))
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

    /// The processes that a process started after a time, and that those started.
    fn started_since(&self, process: ProcessId, time_ns: u64) -> Vec<&Process> {
        let above = BTreeSet::from([process]);
        let later = self.session.processes.values().filter(|known| known.id.start_ns >= time_ns);
        later.filter(|known| self.is_started_by_any(known.id, &above)).collect()
    }
}
