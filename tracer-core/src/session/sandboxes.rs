//! Sandboxes of gVisor: their guests are processes of the session, and the open files that were handed in are the
//! machine's own.

mod fds;

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE},
    object::{FdState, ObjectId},
};

use super::{Job, Kind, Process, Session};
use crate::event::Sandbox;

/// Major number in [`ObjectId::dev`] of objects inside a sandbox; the minor is the number of the sandbox. No device of
/// Linux has it (`CHRDEV_MAJOR_MAX` and `BLKDEV_MAJOR_MAX` are 512, `include/linux/fs.h`).
pub const GUEST_MAJOR: u32 = 0xfff;

/// [`ObjectId::discriminator`] of the files of this machine that a sandbox was given.
pub const GUEST_HANDED_IN: u32 = 3;

/// Whether this is a file of this machine, as a sandbox sees it.
pub(super) const fn is_handed_in(id: &ObjectId) -> bool {
    id.dev >> 20 == GUEST_MAJOR && id.discriminator == GUEST_HANDED_IN
}

impl Session {
    pub(super) fn sandbox_seen(&mut self, sandbox: &Sandbox) {
        self.sandboxes.insert(sandbox.number, sandbox.clone());
    }

    /// Whether tracer looks into the sandbox of this process, which is gVisor's kernel.
    #[must_use]
    pub fn looks_into(&self, sentry: ProcessId) -> bool {
        self.sandboxes.values().any(|sandbox| sandbox.sentry == sentry)
    }

    /// Whether a job is gVisor's own work for a sandbox that tracer looks into: its kernel with the program that started
    /// it, and what that program starts beside it. What the guests do is in their own jobs.
    #[must_use]
    pub fn is_of_gvisor(&self, job: &Job) -> bool {
        let parent = |process: &ProcessId| Some(self.processes.get(process)?.parent);
        self.sandboxes.values().any(|sandbox| {
            let starter = parent(&sandbox.sentry);
            let is_it = |process| Some(process) == starter || process == sandbox.sentry;
            job.root.sandbox == 0 && (is_it(job.root) || starter == parent(&job.root))
        })
    }

    /// The machine's own files that sandboxes were given, by the objects that they are inside. `open` has further rows.
    pub(super) fn host_files(
        &self,
        open: &[(LedgerKey, LedgerRow)],
    ) -> BTreeMap<ObjectId, ObjectId> {
        let mut known = Self { sandboxes: self.sandboxes.clone(), ..Self::default() };
        let sentries: BTreeSet<ProcessId> =
            self.sandboxes.values().map(|sandbox| sandbox.sentry).collect();
        if sentries.is_empty() {
            return BTreeMap::new();
        }
        let is_wanted = |process: &ProcessId| process.sandbox != 0 || sentries.contains(process);
        let rows = self.ledger.iter().map(|(key, row)| (*key, *row)).chain(open.iter().copied());
        for (key, row) in rows.filter(|(key, _)| is_wanted(&key.process)) {
            known.add_row(key, &row);
        }
        let used: BTreeSet<ObjectId> = known.ledger.keys().map(|key| key.object).collect();
        for (id, object) in &self.objects {
            let mut holders = object.holders.iter();
            if used.contains(id) || holders.any(|held| sentries.contains(&held.process)) {
                known.add_object(object.clone());
            }
        }
        let mut handed_in = known.handed_in();
        handed_in.extend(known.handed_in_later(&handed_in));
        handed_in.into_iter().map(|(inside, file)| (inside, file.object)).collect()
    }

    /// Joins what happened inside and outside of sandboxes: what guests wrote to a file that was handed in, they wrote
    /// to the machine's own file. gVisor's kernel has made the same calls for them, whose bytes count once.
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
        self.leave_out_other_fds();
        let to_host_file = |id: &mut ObjectId| {
            if let Some(known) = handed_in.get(id) {
                *id = known.object;
            }
        };
        let stdio = |states: &mut Option<[FdState; 3]>| {
            states.iter_mut().flatten().for_each(|state| to_host_file(&mut state.object));
        };
        for process in self.processes.values_mut() {
            stdio(&mut process.stdio);
            stdio(&mut process.stdio_at_end);
            process.past_images.iter_mut().for_each(|image| stdio(&mut image.stdio));
            process.facts.iter_mut().filter_map(|fact| fact.object.as_mut()).for_each(to_host_file);
        }
        self.blocked.iter_mut().filter_map(|thread| thread.object.as_mut()).for_each(to_host_file);
        for inside in handed_in.keys() {
            if let Some(known) = self.objects.remove(inside)
                && let Some(count) = self.names.get_mut(&known.name())
            {
                *count -= 1;
            }
        }
    }

    /// The files that were handed in and are known as files of this machine: what gVisor's kernel moved bytes to, or
    /// holds open, through their fd.
    fn handed_in(&self) -> BTreeMap<ObjectId, HostFile> {
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
                let object = *known.get(&(sentry, file.fd))?;
                Some((file.object, HostFile { sentry, fd: file.fd, object }))
            })
            .collect()
    }

    /// The files that a running sandbox was given: a pod's other containers and `docker exec` bring three more. gVisor does
    /// not say which fds of its kernel they are. A file and an fd belong together if as many bytes were written to both
    /// at the same time, and if that holds for no other, or for no other with as many calls. Those of one process, which
    /// writes to one after the other, are in the same order inside and outside.
    fn handed_in_later(&self, known: &BTreeMap<ObjectId, HostFile>) -> Vec<(ObjectId, HostFile)> {
        let mut found = Vec::new();
        for sandbox in self.sandboxes.values() {
            // A sandbox that was restored tells no start of its first container, so no guest has the files of that.
            let taken = known.iter().filter(|(inside, file)| {
                file.sentry == sandbox.sentry && self.objects.contains_key(inside)
            });
            let taken: BTreeSet<i32> = taken.map(|(_, file)| file.fd).collect();
            let is_inside = |key: &LedgerKey| {
                key.process.sandbox == sandbox.number
                    && !known.contains_key(&key.object)
                    && is_handed_in(&key.object)
            };
            let is_outside =
                |key: &LedgerKey| key.process == sandbox.sentry && !taken.contains(&key.fd);
            let inside = self.written(is_inside, |key| (key.object, 0));
            let outside = self.written(is_outside, |key| (key.object, key.fd));
            for (written, (object, _)) in &inside {
                let only = written.only(&inside).and_then(|_| written.only(&outside));
                let end = only.or_else(|| written.in_order(*object, &inside, &outside));
                if let Some((host, fd)) = end {
                    let file = HostFile { sentry: sandbox.sentry, fd, object: host };
                    found.push((*object, file));
                }
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
            let (bytes, calls, by) = (0, 0, Some(key.process));
            let new = Written { bytes, first_ns: row.first_ns, calls, by };
            let sum = sums.entry(end(key)).or_insert(new);
            sum.by = sum.by.filter(|process| *process == key.process);
            sum.bytes = sum.bytes.saturating_add(row.bytes);
            sum.calls = sum.calls.saturating_add(row.calls);
            sum.first_ns = sum.first_ns.min(row.first_ns);
        }
        sums.into_iter().map(|(end, written)| (written, end)).collect()
    }

    /// Leaves out processes and rows with which gVisor does its own work: its file server (gofer), the processes in which
    /// guests' code runs, and what its kernel moves through fds that were not handed in.
    fn leave_out_machinery(&mut self, handed_in: &BTreeMap<ObjectId, HostFile>) {
        let host_files: BTreeSet<ObjectId> = handed_in.values().map(|file| file.object).collect();
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
        let objects = |of_own: bool| -> BTreeSet<ObjectId> {
            let keys = self.ledger.keys().filter(|key| is_own(key) == of_own);
            keys.map(|key| key.object).collect()
        };
        let used_by_others = objects(false);
        let is_file = |object: &ObjectId| self.object_kind(object) == Kind::File;
        // Pipes and sockets between gVisor's own processes, and their files.
        let mut internal = objects(true);
        internal.extend(internal.clone().iter().map(|object| self.peer(object)));
        internal.retain(|object| {
            let is_own_file = is_file(object) && !used_by_others.contains(object);
            let passes_on = self.object_kind(object).passes_on();
            !host_files.contains(object)
                && (passes_on || is_own_file || self.object_name(object).contains("["))
        });
        // What they wrote to a file of others is a part of that file's account.
        let of_others: BTreeSet<ObjectId> =
            used_by_others.into_iter().filter(|object| is_file(object)).collect();
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
        self.ledger.retain(|key, _| {
            let is_left_out = is_own(key) && !of_others.contains(&key.object);
            !is_left_out && !internal.contains(&key.object)
        });
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

    /// Gives guests' rows the machine's own file, and subtracts them from those of gVisor's kernel.
    fn move_rows(&mut self, handed_in: &BTreeMap<ObjectId, HostFile>) {
        let keys: Vec<LedgerKey> =
            self.ledger.keys().filter(|key| handed_in.contains_key(&key.object)).copied().collect();
        for key in keys {
            let (Some(row), Some(file)) = (self.ledger.remove(&key), handed_in.get(&key.object))
            else {
                continue;
            };
            let object = file.object;
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

/// How far apart the times are that gVisor and this machine's kernel give for one call.
const APART_NS: u64 = 50_000_000;

/// What was written through one end, and when that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    bytes: u64,
    first_ns: u64,
    /// gVisor's kernel makes several calls for one of a guest if the reader is slow.
    calls: u64,
    /// The process that wrote all of it.
    by: Option<ProcessId>,
}

impl Written {
    /// Of the ends through which as many bytes were written, the one with the same place in their order. One process must
    /// have written to all of them.
    fn in_order(
        &self,
        object: ObjectId,
        inside: &BTreeSet<(Self, (ObjectId, i32))>,
        outside: &BTreeSet<(Self, (ObjectId, i32))>,
    ) -> Option<(ObjectId, i32)> {
        let same = || inside.iter().filter(|(written, _)| written.bytes == self.bytes);
        let is_by_one = self.by.is_some() && same().all(|(written, _)| written.by == self.by);
        let place = same().position(|(_, (known, _))| *known == object)?;
        let is_near = |written: &Self| {
            same().any(|(known, _)| known.first_ns.abs_diff(written.first_ns) <= APART_NS)
        };
        let mut same_outside =
            outside.iter().filter(|(written, _)| written.bytes == self.bytes && is_near(written));
        let is_whole = same_outside.clone().count() == same().count();
        let (written, end) = same_outside.nth(place).filter(|_| is_by_one && is_whole)?;
        (written.first_ns.abs_diff(self.first_ns) <= APART_NS).then_some(*end)
    }

    /// The only end through which the same was written at the same time.
    fn only(&self, ends: &BTreeSet<(Self, (ObjectId, i32))>) -> Option<(ObjectId, i32)> {
        let at = |first_ns| Self { first_ns, calls: 0, by: None, ..*self };
        let from = (at(self.first_ns.saturating_sub(APART_NS)), (ObjectId::NONE, i32::MIN));
        let until = at(self.first_ns.saturating_add(APART_NS + 1));
        let same = || ends.range(from..).take_while(|(written, _)| *written < until);
        let of_calls = || same().filter(|(written, _)| written.calls == self.calls);
        let is_only = same().nth(1).is_none() || of_calls().nth(1).is_none();
        let found = of_calls().chain(same()).next().filter(|_| is_only);
        found.map(|(_, end)| *end)
    }
}

/// A file of this machine that was handed in.
struct HostFile {
    sentry: ProcessId,
    /// Its fd in gVisor's kernel.
    fd: i32,
    object: ObjectId,
}

#[cfg(test)]
mod tests;
