//! Sums up processes that have ended, so that a long trace takes a limited amount of memory.
//!
//! Processes of one command below one process become one: their rows are added up, so every sum over the processes of a
//! command and over an object stays exact. What is left out first is what no finding needs: commands that succeeded
//! and whose output arrived.

mod objects;

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE},
    loss::LossCell,
    object::ObjectId,
};

use super::{Fact, FactKind, Flows, LossReason, Process, Session, merge, witnesses::uncounted};

/// Memory of one process, in the session and in its report, without its texts.
const EACH_PROCESS: u64 = 3 << 10;
/// The same of one object.
const EACH_OBJECT: u64 = 1 << 10;
/// The same of one row.
const EACH_ROW: u64 = 1 << 9;
/// The same of one argument, variable, fact, image, holder or close.
const EACH_ITEM: u64 = 160;
/// A process is summed up this long after its end at the earliest: late completions find its rows.
const SETTLED_NS: u64 = 2_000_000_000;
/// Commands below one process that are summed up each by itself: a program can call itself anything.
const MOST_COMMANDS: usize = 64;
/// The name of all further ones.
const OTHERS: &str = "others";

/// How many processes one entry stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SummedUp {
    /// All of them.
    pub processes: u64,
    /// Those that failed or were killed.
    pub failed: u64,
}

/// What makes a process worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It succeeded, and what it wrote arrived.
    Little,
    /// It failed or wrote nothing: a finding about it alone is left out.
    Some,
    /// Bytes were left, refused or not counted where it wrote or read, or a finding about another process rests on it.
    Loss,
}

type Children = BTreeMap<ProcessId, Vec<ProcessId>>;

impl Session {
    /// An estimate of the memory that the session and its report take, in bytes; rather too high than too low.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let processes: u64 = self.processes.values().map(memory_of).sum();
        let objects = self.objects.values();
        let holders: usize =
            objects.map(|object| object.holders.iter().count() + object.path.len() / 64).sum();
        processes
            + self.objects.len() as u64 * EACH_OBJECT
            + self.ledger.len() as u64 * EACH_ROW
            + (holders + self.ends.number_of_closes()) as u64 * EACH_ITEM
    }

    /// Sums up processes that have ended until `to_free` bytes are free, as far as there are any. Keeps processes with
    /// these pids, and objects for which `is_watched` is true. Counts those that a finding may have needed as a loss.
    pub fn sum_up(&mut self, to_free: u64, keep: &[u32], is_watched: impl Fn(&ObjectId) -> bool) {
        let before = self.memory();
        let lossy = self.lossy(&is_watched);
        let (gone, mut needed) = self.choose(to_free, keep, &lossy);
        self.absorb(&gone);
        self.forget_holders(&gone);
        self.forget_objects(&is_watched, &lossy);
        if before.saturating_sub(self.memory()) < to_free {
            needed += self.forget_objects(&is_watched, &BTreeSet::new());
        }
        self.add_loss(LossReason::SummedUp, LossCell { events: needed, bytes: 0 });
    }

    /// Objects whose bytes did not all arrive, or were not counted with certainty. The account of an object that has not
    /// ended is closed later, with the sums.
    fn lossy(&self, is_watched: &impl Fn(&ObjectId) -> bool) -> BTreeSet<ObjectId> {
        let flows = Flows::of(self);
        let is_left = |id: &ObjectId| {
            let flow = flows.get(id);
            let passes_on = self.object_kind(id).passes_on() && flow.is_used();
            flow.balanced == Some(false) || passes_on && flow.unread != Some(0)
        };
        let is_lossy = |id: &ObjectId| !is_watched(id) && is_left(id);
        // Doubts come from witnesses about a process.
        let is_doubted = |id: &ObjectId| !flows.get(id).doubts.is_empty();
        let objects = self.objects.keys().filter(|id| is_lossy(id) || is_doubted(id)).copied();
        let rows = self.ledger.iter().filter(|(_, row)| is_doubtful(row));
        objects.chain(rows.map(|(key, _)| key.object)).collect()
    }

    /// Chooses processes to sum up, those of little worth first. Returns them, and how many of them had a loss.
    fn choose(
        &self,
        to_free: u64,
        keep: &[u32],
        lossy: &BTreeSet<ObjectId>,
    ) -> (BTreeSet<ProcessId>, u64) {
        let children = self.children();
        let worths = self.removable(&children, keep, lossy);
        let is_single = |id: &ProcessId| self.processes[id].summed_up.is_none();
        let mut order: Vec<(Worth, Option<u64>, ProcessId)> = worths
            .iter()
            .filter(|(id, _)| is_single(id))
            .map(|(id, worth)| (*worth, self.processes[id].end_ns, *id))
            .collect();
        order.sort_unstable();
        let (mut gone, mut freed, mut needed) = (BTreeSet::new(), 0, 0);
        for (_, _, id) in order {
            if freed >= to_free {
                break;
            }
            let mut open = vec![id];
            while let Some(id) = open.pop() {
                if gone.insert(id) {
                    let rows = self.ledger.range(keys_of(id)).count() as u64;
                    freed += self.processes.get(&id).map_or(0, memory_of) + rows * EACH_ROW;
                    needed += u64::from(worths.get(&id) == Some(&Worth::Loss));
                    open.extend(children.get(&id).into_iter().flatten());
                }
            }
        }
        (gone, needed)
    }

    fn children(&self) -> Children {
        let mut children = Children::new();
        for process in self.processes.values() {
            children.entry(process.parent).or_default().push(process.id);
        }
        children
    }

    /// Processes that can go with all their descendants, and what each such tree is worth.
    fn removable(
        &self,
        children: &Children,
        keep: &[u32],
        lossy: &BTreeSet<ObjectId>,
    ) -> BTreeMap<ProcessId, Worth> {
        let latest =
            self.processes.values().filter_map(|process| process.end_ns).max().unwrap_or(0);
        let has_settled = |process: &Process| {
            process.end_ns.is_some_and(|end| end + SETTLED_NS <= latest)
                || process.summed_up.is_some()
        };
        let mut stays: BTreeSet<ProcessId> = BTreeSet::new();
        for process in self.processes.values() {
            // Findings about all others depend on whether there are guests.
            let is_guest = process.facts.iter().any(|fact| fact.kind == FactKind::Emulated);
            if !has_settled(process) || is_guest || keep.contains(&process.id.tgid) {
                self.each_ancestor(process.id, |id| stays.insert(id));
            }
        }
        let mut worths: BTreeMap<ProcessId, Worth> = BTreeMap::new();
        for process in self.processes.values().filter(|process| !stays.contains(&process.id)) {
            let worth = self.worth(process, children, lossy);
            self.each_ancestor(process.id, |id| {
                let known = worths.entry(id).or_insert(Worth::Little);
                let rises = *known < worth || id == process.id;
                *known = worth.max(*known);
                rises
            });
        }
        worths.retain(|id, _| !stays.contains(id));
        worths
    }

    /// Visits a process and its ancestors, as long as `goes_on` returns true.
    fn each_ancestor(&self, from: ProcessId, mut goes_on: impl FnMut(ProcessId) -> bool) {
        let mut next = Some(from);
        while let Some(id) = next.filter(|id| goes_on(*id)) {
            next = self.processes.get(&id).map(|process| process.parent);
            next = next.filter(|parent| *parent != id && self.processes.contains_key(parent));
        }
    }

    fn worth(&self, process: &Process, children: &Children, lossy: &BTreeSet<ObjectId>) -> Worth {
        let mut rows = self.ledger.range(keys_of(process.id)).peekable();
        let is_silent = rows.peek().is_none() && !children.contains_key(&process.id);
        let is_witness = |fact: &Fact| matches!(fact.kind, FactKind::Nonblock | FactKind::FdRaced);
        let written = self.rows_of(process.id, WRITE).map(|(_, row)| row.bytes).sum();
        let is_uncounted = uncounted(process, written).is_some();
        if is_uncounted
            || process.facts.iter().any(is_witness)
            || rows.any(|(key, _)| lossy.contains(&key.object))
        {
            Worth::Loss
        } else if is_silent || process.status != Some(0) && process.summed_up.is_none() {
            Worth::Some
        } else {
            Worth::Little
        }
    }

    /// Adds processes to the sums of their commands.
    fn absorb(&mut self, gone: &BTreeSet<ProcessId>) {
        let mut hosts: BTreeMap<ProcessId, ProcessId> = BTreeMap::new();
        // Parents come first, because they started first.
        for id in gone {
            let Some(process) = self.processes.remove(id) else { continue };
            let host = hosts.get(&process.parent).copied().unwrap_or(process.parent);
            hosts.insert(*id, host);
            let sums = self.sums_for(&process, host);
            let keys: Vec<LedgerKey> =
                self.ledger.range(keys_of(*id)).map(|(key, _)| *key).collect();
            for key in keys {
                self.move_row(key, LedgerKey { process: sums, ..key });
            }
        }
    }

    /// The entry that has the sums of a process's command, with this process added to it.
    fn sums_for(&mut self, process: &Process, host: ProcessId) -> ProcessId {
        let is_command = is_command(process);
        if process.summed_up.is_some() {
            self.sums.remove(&(process.parent, process.comm.clone(), is_command));
        }
        let of_host = (host, String::new(), false)..;
        let commands = self.sums.range(of_host).take_while(|((of, ..), _)| *of == host).count();
        let mut key = (host, process.comm.clone(), is_command);
        if commands >= MOST_COMMANDS && !self.sums.contains_key(&key) {
            key.1 = OTHERS.to_owned();
        }
        let id = match self.sums.get(&key) {
            Some(id) => *id,
            None => self.new_sums(process, &key),
        };
        self.sums.insert(key, id);
        if let Some(sums) = self.processes.get_mut(&id) {
            let one = SummedUp { processes: 1, failed: u64::from(process.status != Some(0)) };
            let (known, more) =
                (sums.summed_up.unwrap_or_default(), process.summed_up.unwrap_or(one));
            sums.summed_up = Some(SummedUp {
                processes: known.processes + more.processes,
                failed: known.failed + more.failed,
            });
            sums.end_ns = sums.end_ns.max(process.end_ns);
            sums.other_bytes =
                Some(sums.other_bytes.unwrap_or(0) + process.other_bytes.unwrap_or(0));
            sums.other_calls =
                Some(sums.other_calls.unwrap_or(0) + process.other_calls.unwrap_or(0));
        }
        id
    }

    /// A new entry. Its pid is 0, which no process has.
    fn new_sums(&mut self, first: &Process, key: &(ProcessId, String, bool)) -> ProcessId {
        let mut id = ProcessId::new(0, first.id.start_ns);
        while self.processes.contains_key(&id) {
            id.start_ns += 1;
        }
        let (parent, comm, executed) = key.clone();
        let sums = Process {
            id,
            parent,
            comm,
            executed,
            is_target: first.is_target,
            ..Process::default()
        };
        self.processes.insert(id, sums);
        id
    }

    /// Adds a row to another one. When its last bytes came is not known of a sum.
    pub(super) fn move_row(&mut self, from: LedgerKey, to: LedgerKey) {
        let Some(row) = self.ledger.remove(&from) else { return };
        let sum = self.ledger.entry(to).and_modify(|known| merge(known, &row)).or_insert(row);
        (sum.window, sum.before_window, sum.previous_window_bytes) = (0, sum.bytes, 0);
    }

    pub(super) fn forget_holders(&mut self, gone: &BTreeSet<ProcessId>) {
        for object in self.objects.values_mut() {
            object.holders.forget(gone);
        }
        self.ends.forget_processes(gone);
    }
}

/// Whether something of a row was left, refused or not counted with certainty.
fn is_doubtful(row: &LedgerRow) -> bool {
    row.refused > 0 || row.doubts != 0 || row.errors.iter().any(|count| *count > 0)
}

fn is_command(process: &Process) -> bool {
    process.executed || process.facts.iter().any(|fact| fact.kind == FactKind::ExecFailed)
}

/// The range of all rows of a process.
pub(super) fn keys_of(process: ProcessId) -> std::ops::RangeInclusive<LedgerKey> {
    let last = ObjectId { ino: u64::MAX, dev: u32::MAX, discriminator: u32::MAX };
    LedgerKey { process, object: ObjectId::default(), fd: i32::MIN, direction: 0 }..=LedgerKey {
        process,
        object: last,
        fd: i32::MAX,
        direction: u32::MAX,
    }
}

fn memory_of(process: &Process) -> u64 {
    let arguments: usize = process.argv.iter().map(String::len).sum();
    let facts: usize = process.facts.iter().map(|fact| fact.about.len()).sum();
    let images = process.past_images.iter();
    let images: usize = images.map(|image| image.comm.len() + image.command.len()).sum();
    let items = process.argv.len() + process.facts.len() + process.past_images.len();
    let variables = process.environment.as_ref().map_or(0, |it| it.share_of_memory(EACH_ITEM));
    EACH_PROCESS + (arguments + facts + images) as u64 + items as u64 * EACH_ITEM + variables
}

#[cfg(test)]
mod tests;
