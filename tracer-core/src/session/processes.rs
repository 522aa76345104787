//! The processes of a session. A copy of a session shares them until one of the two changes.

use std::{
    collections::BTreeMap,
    ops::{Bound, Index},
    sync::Arc,
};

use tracer_common::id::ProcessId;

use super::Process;

/// Processes by their identity, in its order. The view of a running trace copies all of them several times a minute
/// while the ring waits, so copies share them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes(BTreeMap<ProcessId, Arc<Process>>);

impl Processes {
    /// The process with this identity.
    #[must_use]
    pub fn get(&self, id: &ProcessId) -> Option<&Process> {
        self.0.get(id).map(Arc::as_ref)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: &ProcessId) -> Option<&mut Process> {
        self.0.get_mut(id).map(Arc::make_mut)
    }

    /// The process with this identity. If there is none, it is added.
    pub(super) fn get_or_add(&mut self, id: ProcessId) -> &mut Process {
        let known = self.0.entry(id).or_insert_with(|| Process { id, ..Process::default() }.into());
        Arc::make_mut(known)
    }

    /// Whether there is a process with this identity.
    #[must_use]
    pub fn contains_key(&self, id: &ProcessId) -> bool {
        self.0.contains_key(id)
    }

    /// All of them, in order.
    #[must_use]
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Process> {
        self.0.values().map(Arc::as_ref)
    }

    /// Those whose identity comes after this one.
    pub(crate) fn after(&self, id: ProcessId) -> impl Iterator<Item = &Process> {
        self.0.range((Bound::Excluded(id), Bound::Unbounded)).map(|(_, known)| known.as_ref())
    }

    /// The same as [`Self::values`], to be changed. None of them is shared any more.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.0.values_mut().map(Arc::make_mut)
    }

    /// Adds or replaces a process.
    pub fn insert(&mut self, id: ProcessId, process: Process) {
        self.0.insert(id, Arc::new(process));
    }

    /// Adds a process of another session, as a target or not. It is shared, unless it was not so there.
    pub(super) fn share(&mut self, id: ProcessId, of: &Self, is_target: bool) {
        let Some(known) = of.0.get(&id) else { return };
        let process = if known.is_target == is_target {
            Arc::clone(known)
        } else {
            Arc::new(Process { is_target, ..Process::clone(known) })
        };
        self.0.insert(id, process);
    }

    /// Takes a process out.
    pub(super) fn remove(&mut self, id: &ProcessId) -> Option<Process> {
        self.0.remove(id).map(Arc::unwrap_or_clone)
    }

    /// Keeps only the processes whose identity `is_kept`.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&ProcessId) -> bool) {
        self.0.retain(|id, _| is_kept(id));
    }

    /// The number of processes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Index<&ProcessId> for Processes {
    type Output = Process;

    fn index(&self, id: &ProcessId) -> &Process {
        &self.0[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(tgid: u32) -> ProcessId {
        ProcessId { tgid, ..ProcessId::default() }
    }

    #[test]
    fn a_copy_shares_what_has_not_changed_and_keeps_what_was() {
        let mut processes = Processes::default();
        for tgid in 1..=3 {
            processes.get_or_add(id(tgid)).comm = "before".into();
        }
        let copy = processes.clone();
        processes.get_mut(&id(1)).unwrap().comm = "after".into();
        processes.get_or_add(id(2)).comm = "after".into();
        let names =
            |of: &Processes| of.values().map(|known| known.comm.clone()).collect::<Vec<_>>();
        assert_eq!(names(&processes), ["after", "after", "before"]);
        assert_eq!(names(&copy), ["before"; 3]);
        let is_shared =
            |tgid| std::ptr::eq(&raw const processes[&id(tgid)], &raw const copy[&id(tgid)]);
        assert_eq!([1, 2, 3].map(is_shared), [false, false, true]);
    }
}
