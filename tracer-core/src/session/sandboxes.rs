//! Sandboxes of gVisor: their guests are processes of the session, and the open files that were handed in are the
//! machine's own.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, WRITE},
    object::{FdState, ObjectId},
};

use super::{Process, Session};
use crate::event::Sandbox;

/// Major number in [`ObjectId::dev`] of objects inside a sandbox; the minor is the number of the sandbox. No device of
/// Linux has it (`CHRDEV_MAJOR_MAX` and `BLKDEV_MAJOR_MAX` are 512, `include/linux/fs.h`).
pub const GUEST_MAJOR: u32 = 0xfff;

impl Session {
    pub(super) fn sandbox_seen(&mut self, sandbox: &Sandbox) {
        self.sandboxes.insert(sandbox.number, sandbox.clone());
    }

    /// Whether tracer looks into the sandbox of this process, which is gVisor's kernel.
    #[must_use]
    pub fn looks_into(&self, sentry: ProcessId) -> bool {
        self.sandboxes.values().any(|sandbox| sandbox.sentry == sentry)
    }

    /// Makes inside and outside one story: what guests wrote to a file that was handed in, they wrote to the machine's
    /// own file. gVisor's kernel has made the same calls for them, whose bytes count once.
    ///
    /// To be called once, when all events and rows were applied.
    pub fn join_sandboxes(&mut self) {
        if self.sandboxes.is_empty() {
            return;
        }
        let mut handed_in = self.handed_in();
        handed_in.extend(self.handed_in_later(&handed_in));
        self.move_rows(&handed_in);
        self.leave_out_machinery(&handed_in);
        let outside = |id: &mut ObjectId| {
            if let Some(known) = handed_in.get(id) {
                *id = known.outside;
            }
        };
        let stdio = |states: &mut Option<[FdState; 3]>| {
            states.iter_mut().flatten().for_each(|state| outside(&mut state.object));
        };
        for process in self.processes.values_mut() {
            stdio(&mut process.stdio);
            stdio(&mut process.stdio_at_end);
            process.past_images.iter_mut().for_each(|image| stdio(&mut image.stdio));
            process.facts.iter_mut().filter_map(|fact| fact.object.as_mut()).for_each(outside);
        }
        self.blocked.iter_mut().filter_map(|thread| thread.object.as_mut()).for_each(outside);
        for inside in handed_in.keys() {
            if let Some(known) = self.objects.remove(inside)
                && let Some(count) = self.names.get_mut(&known.name())
            {
                *count -= 1;
            }
        }
    }

    /// The files that were handed in and whose object outside is known: what gVisor's kernel moved bytes to, or holds
    /// open, through their fd.
    fn handed_in(&self) -> BTreeMap<ObjectId, Outside> {
        let all = || {
            let files = |sandbox: &'_ Sandbox| sandbox.handed_in.clone();
            self.sandboxes.values().flat_map(move |sandbox| {
                files(sandbox).into_iter().map(|file| (file, sandbox.sentry))
            })
        };
        let wanted: BTreeSet<(ProcessId, i32)> =
            all().map(|(file, sentry)| (sentry, file.fd)).collect();
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let held = self.objects.iter().flat_map(|(id, object)| {
            object.holders.iter().map(|held| ((held.process, held.fd), *id))
        });
        let moved = self.ledger.keys().map(|key| ((key.process, key.fd), key.object));
        // Later entries replace earlier ones: a row is better evidence than a holder.
        let known: BTreeMap<(ProcessId, i32), ObjectId> =
            held.chain(moved).filter(|(end, _)| wanted.contains(end)).collect();
        all()
            .filter_map(|(file, sentry)| {
                let outside = *known.get(&(sentry, file.fd))?;
                Some((file.object, Outside { sentry, fd: file.fd, outside }))
            })
            .collect()
    }

    /// The files that were handed in to a running container: `docker exec` gives its program three more. gVisor does not
    /// say which fds of its kernel they are. A file and an fd belong together if as many bytes were written to both by as
    /// many calls at the same time, and if that holds for no other.
    fn handed_in_later(&self, known: &BTreeMap<ObjectId, Outside>) -> Vec<(ObjectId, Outside)> {
        let mut found = Vec::new();
        for sandbox in self.sandboxes.values() {
            let taken = known.values().filter(|file| file.sentry == sandbox.sentry);
            let taken: BTreeSet<i32> = taken.map(|file| file.fd).collect();
            let is_inside = |key: &LedgerKey| {
                key.process.sandbox == sandbox.number
                    && !known.contains_key(&key.object)
                    && self.object_name(&key.object).starts_with(HOST)
            };
            let is_outside =
                |key: &LedgerKey| key.process == sandbox.sentry && !taken.contains(&key.fd);
            let inside = self.written(is_inside, |key| (key.object, 0));
            let outside = self.written(is_outside, |key| (key.object, key.fd));
            for (written, (object, _)) in &inside {
                let (Some((outside, fd)), Some(_)) =
                    (written.only(&outside), written.only(&inside))
                else {
                    continue;
                };
                found.push((*object, Outside { sentry: sandbox.sentry, fd, outside }));
            }
        }
        found
    }

    /// What was written through each end, of the rows for which `counts` holds.
    fn written(
        &self,
        counts: impl Fn(&LedgerKey) -> bool,
        end: impl Fn(&LedgerKey) -> (ObjectId, i32),
    ) -> BTreeSet<(Written, (ObjectId, i32))> {
        let mut sums: BTreeMap<(ObjectId, i32), Written> = BTreeMap::new();
        let rows = self.ledger.iter().filter(|(key, _)| key.direction == WRITE && counts(key));
        for (key, row) in rows.filter(|(_, row)| row.bytes > 0) {
            let new = Written { bytes: 0, calls: 0, first_ns: row.first_ns };
            let sum = sums.entry(end(key)).or_insert(new);
            sum.bytes = sum.bytes.saturating_add(row.bytes);
            sum.calls = sum.calls.saturating_add(row.calls);
            sum.first_ns = sum.first_ns.min(row.first_ns);
        }
        sums.into_iter().map(|(end, written)| (written, end)).collect()
    }

    /// Leaves out processes and rows with which gVisor does its own work: its file server (gofer), the processes in which
    /// guests' code runs, and what its kernel moves through fds that were not handed in.
    fn leave_out_machinery(&mut self, handed_in: &BTreeMap<ObjectId, Outside>) {
        let outside: BTreeSet<ObjectId> = handed_in.values().map(|file| file.outside).collect();
        let mut kernels: BTreeMap<ProcessId, BTreeSet<i32>> =
            self.sandboxes.values().map(|sandbox| (sandbox.sentry, BTreeSet::new())).collect();
        for sandbox in self.sandboxes.values() {
            let fds = kernels.entry(sandbox.sentry).or_default();
            fds.extend(sandbox.handed_in.iter().map(|file| file.fd));
        }
        for file in handed_in.values() {
            kernels.entry(file.sentry).or_default().insert(file.fd);
        }
        let starters: BTreeSet<ProcessId> =
            kernels.keys().filter_map(|kernel| Some(self.processes.get(kernel)?.parent)).collect();
        let machinery = self.machinery(&kernels, &starters);
        let is_own = |key: &LedgerKey| {
            let is_kernels = kernels.get(&key.process).is_some_and(|fds| !fds.contains(&key.fd));
            is_kernels || machinery.contains(&key.process)
        };
        // Pipes and sockets between gVisor's own processes.
        let mut internal: BTreeSet<ObjectId> =
            self.ledger.keys().filter(|key| is_own(key)).map(|key| key.object).collect();
        internal.extend(internal.clone().iter().map(|object| self.peer(object)));
        internal.retain(|object| {
            let kind = self.object_kind(object);
            !outside.contains(object)
                && (kind.passes_on() || self.object_name(object).contains("["))
        });
        self.processes.retain(|id| !machinery.contains(id));
        // `runsc` tells the sandbox what to do. The kernel counts that as well.
        for own in starters.iter().chain(kernels.keys()) {
            if let Some(process) = self.processes.get_mut(own) {
                process.other_bytes = process.other_bytes.and(Some(0));
                process.other_calls = process.other_calls.and(Some(0));
                process.kernel_written = None;
                let is_given = |argument: &&String| !argument.starts_with(SIGHT);
                process.argv = process.argv.iter().filter(is_given).cloned().collect();
            }
        }
        self.ledger.retain(|key, _| !is_own(key) && !internal.contains(&key.object));
        self.objects.retain(|id, _| !internal.contains(id));
    }

    /// gVisor's own processes, without its kernels and the programs that started these.
    fn machinery(
        &self,
        kernels: &BTreeMap<ProcessId, BTreeSet<i32>>,
        starters: &BTreeSet<ProcessId>,
    ) -> BTreeSet<ProcessId> {
        let is_machinery = |process: &&Process| {
            let is_gofer = process.argv.first().is_some_and(|name| name.ends_with("runsc-gofer"));
            // This `runsc` asks a sandbox something, on behalf of tracer or of another program.
            let is_client = !process.is_target && process.comm == "runsc";
            let mut above = self.line_of(process).skip(1).take(GENERATIONS);
            is_client && !starters.contains(&process.id)
                || is_gofer && starters.contains(&process.parent)
                || above.any(|above| kernels.contains_key(&above.id))
        };
        let here = self.processes.values().filter(|process| process.id.sandbox == 0);
        here.filter(is_machinery).map(|process| process.id).collect()
    }

    /// Gives guests' rows the object outside, and subtracts them from those of gVisor's kernel.
    fn move_rows(&mut self, handed_in: &BTreeMap<ObjectId, Outside>) {
        let keys: Vec<LedgerKey> =
            self.ledger.keys().filter(|key| handed_in.contains_key(&key.object)).copied().collect();
        for key in keys {
            let (Some(row), Some(file)) = (self.ledger.remove(&key), handed_in.get(&key.object))
            else {
                continue;
            };
            let object = file.outside;
            let of_sentry =
                LedgerKey { process: file.sentry, object, fd: file.fd, direction: key.direction };
            if let Some(known) = self.ledger.get_mut(&of_sentry) {
                known.bytes = known.bytes.saturating_sub(row.bytes);
                known.calls = known.calls.saturating_sub(row.calls);
                if known.bytes == 0 {
                    self.ledger.remove(&of_sentry);
                }
            }
            self.add_row(LedgerKey { object, ..key }, &row);
        }
    }
}

/// The option that tracer gives to `runsc` so that it sees inside; the user did not write it.
const SIGHT: &str = "--pod-init-config=/run/tracer/";
/// How far below gVisor's kernel the processes are in which guests' code runs.
const GENERATIONS: usize = 4;

/// How the names of files that were handed in begin inside.
const HOST: &str = "host:[";
/// How far apart the times are that gVisor and this machine's kernel give for one call.
const APART_NS: u64 = 50_000_000;

/// What was written through one end, and when that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    bytes: u64,
    calls: u64,
    first_ns: u64,
}

impl Written {
    /// The only end through which the same was written at the same time.
    fn only(&self, ends: &BTreeSet<(Self, (ObjectId, i32))>) -> Option<(ObjectId, i32)> {
        let at = |first_ns| Self { first_ns, ..*self };
        let from = (at(self.first_ns.saturating_sub(APART_NS)), (ObjectId::NONE, i32::MIN));
        let until = at(self.first_ns.saturating_add(APART_NS + 1));
        let mut same = ends.range(from..).take_while(|(written, _)| *written < until);
        let (_, end) = same.next()?;
        same.next().is_none().then_some(*end)
    }
}

/// Where a file that was handed in is outside.
struct Outside {
    sentry: ProcessId,
    /// Its fd in gVisor's kernel.
    fd: i32,
    outside: ObjectId,
}

#[cfg(test)]
mod tests {
    use tracer_common::{ledger::LedgerRow, object::mode};

    use tracer_common::event as layout;

    use super::*;
    use crate::event::{Event, EventKind, HandedIn};

    const SENTRY: ProcessId = ProcessId::new(90, 5);
    const GUEST: ProcessId = ProcessId { sandbox: 1, ..ProcessId::new(2, 7) };
    const PIPE: ObjectId = ObjectId { ino: 77, dev: 14, discriminator: 0 };
    const INSIDE: ObjectId = ObjectId { ino: 2, dev: GUEST_MAJOR << 20 | 1, discriminator: 3 };

    /// A session in which the sentry has written `outside` bytes to the pipe for a guest that wrote `inside` bytes.
    fn joined(outside: u64, inside: u64) -> Session {
        let mut session = Session::default();
        let row = |bytes| LedgerRow { bytes, calls: 1, ..LedgerRow::ZERO };
        let key = |process, object, fd| LedgerKey { process, object, fd, direction: WRITE };
        session.add_row(key(SENTRY, PIPE, 257), &row(outside));
        session.add_row(key(GUEST, INSIDE, 1), &row(inside));
        session.sandbox_seen(&Sandbox {
            number: 1,
            sentry: SENTRY,
            handed_in: vec![HandedIn { object: INSIDE, fd: 257 }],
            ..Sandbox::default()
        });
        session.join_sandboxes();
        session
    }

    fn written(session: &Session, process: ProcessId) -> Vec<(ObjectId, u64)> {
        session.rows_of(process, WRITE).map(|(key, row)| (key.object, row.bytes)).collect()
    }

    #[test]
    fn what_guests_write_outside_counts_once() {
        let session = joined(21, 21);
        assert_eq!(written(&session, GUEST), [(PIPE, 21)]);
        assert_eq!(written(&session, SENTRY), []);
    }

    /// A session in which a guest that `docker exec` started wrote to files that the sandbox got then: object, bytes and
    /// time of each, and the same of the sentry.
    fn joined_later(inside: &[(u64, u64, u64)], outside: &[(u64, u64, u64)]) -> Session {
        let mut session = Session::default();
        let row = |bytes, first_ns| LedgerRow { bytes, calls: 1, first_ns, ..LedgerRow::ZERO };
        for (ino, bytes, first_ns) in inside {
            let object = ObjectId { ino: *ino, ..INSIDE };
            let seen = layout::Object { id: object, mode: mode::S_IFCHR, ..Default::default() };
            let kind = EventKind::Object { object: seen, name: format!("host:[{ino}]") };
            session.apply(&Event { time_ns: 0, kind });
            let key = LedgerKey { process: GUEST, object, fd: 1, direction: WRITE };
            session.add_row(key, &row(*bytes, *first_ns));
        }
        for (ino, bytes, first_ns) in outside {
            let object = ObjectId { ino: *ino, ..PIPE };
            let key = LedgerKey { process: SENTRY, object, fd: *ino as i32, direction: WRITE };
            session.add_row(key, &row(*bytes, *first_ns));
        }
        session.sandbox_seen(&Sandbox { number: 1, sentry: SENTRY, ..Sandbox::default() });
        session.join_sandboxes();
        session
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn files_that_were_handed_in_later_are_found_by_what_was_written() {
        let inside = [(5, 20, SECOND), (6, 9, SECOND), (7, 20, 2 * SECOND)];
        let outside = [(41, 20, SECOND), (42, 9, SECOND + 500), (43, 20, 2 * SECOND - 700)];
        let session = joined_later(&inside, &outside);
        let pipe = |ino| ObjectId { ino, ..PIPE };
        assert_eq!(written(&session, GUEST), [(pipe(41), 20), (pipe(42), 9), (pipe(43), 20)]);
        assert_eq!(written(&session, SENTRY), []);
    }

    #[test]
    fn what_runsc_prints_is_no_output_of_a_sandbox() {
        let mut session = Session::default();
        let runsc = ProcessId::new(95, 9);
        let key = LedgerKey { process: runsc, object: PIPE, fd: 1, direction: WRITE };
        let first = layout::FirstIo { key, ..layout::FirstIo::default() };
        let kind = EventKind::FirstIo { first, comm: "runsc".into() };
        session.apply(&Event { time_ns: 0, kind });
        session.add_row(key, &LedgerRow { bytes: 51, calls: 1, ..LedgerRow::ZERO });
        session.sandbox_seen(&Sandbox { number: 1, sentry: SENTRY, ..Sandbox::default() });
        session.join_sandboxes();
        assert!(session.ledger.is_empty() && !session.processes.contains_key(&runsc));
    }

    #[test]
    fn files_that_cannot_be_told_apart_are_not_joined() {
        let session =
            joined_later(&[(5, 2, SECOND), (6, 2, SECOND)], &[(41, 2, SECOND), (42, 2, SECOND)]);
        let own = |ino| ObjectId { ino, ..INSIDE };
        assert_eq!(written(&session, GUEST), [(own(5), 2), (own(6), 2)]);
    }

    #[test]
    fn what_was_written_before_tracer_looked_inside_stays_with_the_sentry() {
        let session = joined(100, 21);
        assert_eq!(written(&session, GUEST), [(PIPE, 21)]);
        assert_eq!(written(&session, SENTRY), [(PIPE, 79)]);
    }
}
