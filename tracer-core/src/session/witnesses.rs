//! Holds the ledger against witnesses that do not depend on tracer's hooks: the kernel's own count of what a process
//! wrote, and the size of a file. Where they show more than the ledger, bytes passed tracer unseen.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
    loss::Reason,
    object::ObjectId,
};

use super::{FactKind, Process, Session};

/// Size of a record of process accounting (`struct acct_v3`, include/uapi/linux/acct.h): the kernel writes it in the
/// name of a process that ends, and counts it as written by the process.
const ACCOUNTING_RECORD: u64 = 64;
/// Bit of a wait status: the kernel wrote a core dump in the name of the process (wait4(2)).
const CORE_DUMP: u32 = 0x80;
/// The first fd that is no standard fd.
const FIRST_OTHER_FD: i32 = 3;

/// Bytes that a witness has seen and tracer has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// Who or what they concern.
    pub by: Witness,
    /// How many they are.
    pub bytes: u64,
}

/// What shows that bytes are missing from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The kernel counted more bytes written by this process.
    Process(ProcessId),
    /// This file grew, but nothing was written to it.
    File(ObjectId),
}

/// What the witnesses say.
#[derive(Clone, Debug, Default)]
pub(super) struct Witnesses {
    /// Bytes that passed unseen.
    pub(super) uncounted: Vec<Uncounted>,
    /// Bits of [`Reason`] by object.
    pub(super) doubts: BTreeMap<ObjectId, u32>,
}

impl Witnesses {
    /// Asks all witnesses of a session.
    pub(super) fn of(session: &Session) -> Self {
        let mut this = Self::default();
        let written = written_by_process(session);
        // Bytes whose reason is known.
        let of_trace = session.losses.iter().filter(|(reason, _)| !reason.is_of_object());
        let lost: u64 = of_trace.map(|(_, cell)| cell.bytes).sum();
        for process in session.processes.values().filter(|process| process.is_target) {
            let counted = written.get(&process.id).copied().unwrap_or(0);
            if let Some(bytes) = uncounted(process, counted).filter(|bytes| *bytes > lost) {
                this.uncounted.push(Uncounted { by: Witness::Process(process.id), bytes });
                this.doubt(session, process, Reason::Uncounted, |_| true);
            }
            this.note_races(session, process);
        }
        this.ask_files(session);
        this
    }

    /// Doubts the objects of fds that were replaced while another thread may have been using them.
    fn note_races(&mut self, session: &Session, process: &Process) {
        let races = process.facts.iter().filter(|fact| fact.kind == FactKind::FdRaced);
        let raced: BTreeSet<Option<i32>> = races.map(|fact| fact.fd).collect();
        if !raced.is_empty() {
            let is_raced =
                |fd| raced.contains(&Some(fd)) || fd >= FIRST_OTHER_FD && raced.contains(&None);
            self.doubt(session, process, Reason::FdRaced, is_raced);
            let read = session.rows_of(process.id, READ).map(|(key, _)| (key.fd, key.object));
            let inputs = read.chain(session.ends.closed_by(process.id));
            for (_, object) in inputs.filter(|(fd, object)| is_raced(*fd) && !object.is_none()) {
                *self.doubts.entry(object).or_default() |= Reason::FdRaced.bit();
            }
        }
    }

    /// Doubts what a process wrote to, and the standard fds that it had, if `concerns` is true for the fd.
    fn doubt(
        &mut self,
        session: &Session,
        process: &Process,
        reason: Reason,
        concerns: impl Fn(i32) -> bool,
    ) {
        let rows = session.rows_of(process.id, WRITE);
        let of_rows = rows.map(|(key, _)| (key.fd, key.object));
        let standard = [process.stdio, process.stdio_at_end].into_iter().flatten();
        let of_stdio =
            standard.flat_map(|stdio| (0..).zip(stdio.map(|state| state.object)).skip(1));
        let objects = of_rows.chain(of_stdio).filter(|(fd, _)| concerns(*fd));
        for (_, object) in objects.filter(|(_, object)| !object.is_none()) {
            *self.doubts.entry(object).or_default() |= reason.bit();
        }
    }

    /// A file to which nothing was written does not grow, unless a process extends or maps it.
    fn ask_files(&mut self, session: &Session) {
        let writes =
            session.ledger.iter().filter(|(key, row)| key.direction == WRITE && row.bytes > 0);
        let written: BTreeSet<ObjectId> = writes.map(|(key, _)| key.object).collect();
        for object in session.objects.values().filter(|object| !written.contains(&object.id)) {
            let grown = object.size_after.unwrap_or(0).saturating_sub(object.size);
            if grown > 0 {
                self.uncounted.push(Uncounted { by: Witness::File(object.id), bytes: grown });
                *self.doubts.entry(object.id).or_default() |= Reason::Uncounted.bit();
            }
        }
    }
}

/// What the ledger has of each process, through all fds.
fn written_by_process(session: &Session) -> BTreeMap<ProcessId, u64> {
    let mut written = BTreeMap::new();
    for (key, row) in session.ledger.iter().filter(|(key, _)| key.direction == WRITE) {
        *written.entry(key.process).or_default() += row.bytes;
    }
    written
}

/// Bytes of a process that has ended which the kernel counted and tracer did not. The kernel counts fewer ways of writing
/// (`write(2)` and its kin, `sendfile`, `copy_file_range`), so it never has fewer for another reason.
pub(super) fn uncounted(process: &Process, in_ledger: u64) -> Option<u64> {
    let before = process.kernel_written_before?;
    let by_kernel = process.kernel_written?.saturating_sub(before);
    let booked = in_ledger.saturating_add(process.written_to_ended);
    let counted = booked.saturating_add(process.other_bytes?);
    let more = by_kernel.saturating_sub(counted);
    let has_dumped = process.status.is_some_and(|status| status & CORE_DUMP != 0);
    (more > 0 && more != ACCOUNTING_RECORD && !has_dumped).then_some(more)
}

#[cfg(test)]
mod tests {
    use tracer_common::ledger::{LedgerKey, LedgerRow};

    use super::*;
    use crate::session::{Kind, Object};

    const PROCESS: ProcessId = ProcessId::new(7, 1);
    const FILE: ObjectId = ObjectId { ino: 3, dev: 1, discriminator: 9 };

    /// A process that ended: what the kernel counted, and what tracer counted on fd 1 and elsewhere.
    fn session(by_kernel: u64, on_stdout: u64, elsewhere: u64) -> Session {
        let mut session = Session::default();
        let process = Process {
            id: PROCESS,
            is_target: true,
            status: Some(0),
            kernel_written_before: Some(1_000),
            kernel_written: Some(1_000 + by_kernel),
            other_bytes: Some(elsewhere),
            ..Process::default()
        };
        session.processes.insert(PROCESS, process);
        session.add_object(Object { id: FILE, kind: Kind::File, ..Object::default() });
        if on_stdout > 0 {
            let key = LedgerKey { process: PROCESS, object: FILE, fd: 1, direction: WRITE };
            session.add_row(key, &LedgerRow { bytes: on_stdout, ..LedgerRow::default() });
        }
        session
    }

    fn bytes(session: &Session) -> Vec<u64> {
        Witnesses::of(session).uncounted.iter().map(|found| found.bytes).collect()
    }

    #[test]
    fn what_the_kernel_counted_beyond_the_ledger_is_uncounted() {
        assert!(bytes(&session(500, 300, 200)).is_empty());
        // Sends and io_uring count in the ledger only.
        assert!(bytes(&session(500, 900, 200)).is_empty());
        assert_eq!(bytes(&session(501, 300, 200)), [1]);
        let doubts = Witnesses::of(&session(501, 300, 200)).doubts;
        assert_eq!(doubts.get(&FILE), Some(&Reason::Uncounted.bit()));
    }

    #[test]
    fn what_the_kernel_writes_in_the_name_of_a_process_is_not() {
        assert!(bytes(&session(500 + ACCOUNTING_RECORD, 300, 200)).is_empty());
        let mut dumped = session(90_000, 300, 200);
        dumped.processes.get_mut(&PROCESS).unwrap().status = Some(11 | CORE_DUMP);
        assert!(bytes(&dumped).is_empty());
    }

    #[test]
    fn a_file_that_grew_without_a_write_is_a_witness() {
        let mut silent = session(0, 0, 0);
        silent.objects.get_mut(&FILE).unwrap().size_after = Some(40);
        assert_eq!(bytes(&silent), [40]);
        let mut written = session(10, 10, 0);
        written.objects.get_mut(&FILE).unwrap().size_after = Some(40);
        assert!(bytes(&written).is_empty());
    }
}
