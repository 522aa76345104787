//! The containers of a sandbox: a pod has several, each with paths of its own.

use tracer_core::session::LossReason;

use super::Guest;

/// Most containers that are told apart.
const MOST: usize = 4096;

impl Guest {
    /// Number of the container with this id. The sandbox's own has 0.
    pub(super) fn container_with(&mut self, id: &[u8]) -> u32 {
        let is_it = |known: &Option<Vec<u8>>| known.as_deref() == Some(id);
        match self.containers.iter().position(is_it) {
            Some(place) => u32::try_from(place).unwrap_or(0),
            None => self.new_container(Some(id.to_owned())),
        }
    }

    /// Number of a container that is not known yet.
    pub(super) fn new_container(&mut self, id: Option<Vec<u8>>) -> u32 {
        if self.containers.len() >= MOST {
            self.lose(LossReason::GuestTablesFull, 0);
            return 0;
        }
        self.containers.push(id);
        u32::try_from(self.containers.len() - 1).unwrap_or(0)
    }

    /// Number of the container of a process that is known.
    pub(super) fn container(&self, tgid: i32) -> u32 {
        self.processes.get(&tgid).map_or(0, |process| process.container)
    }

    /// A process has told the id of its container. The list of what ran before does not tell it.
    pub(super) fn is_in(&mut self, tgid: i32, id: &[u8]) {
        let place = self.container(tgid) as usize;
        let own = self.containers.get(place).and_then(Option::as_deref);
        if own == Some(id) {
            return;
        }
        let is_known = self.containers.iter().any(|known| known.as_deref() == Some(id));
        if own.is_none() && !is_known {
            self.containers[place] = Some(id.to_owned());
        } else {
            let container = self.container_with(id);
            self.processes.entry(tgid).and_modify(|process| process.container = container);
        }
    }
}
