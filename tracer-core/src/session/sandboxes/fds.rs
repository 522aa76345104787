//! Files are handed in to a sandbox as fds that no program's output has, so all fds are counted. What other processes write
//! to such fds is left out, unless the user asked for it.

use std::collections::BTreeSet;

use tracer_common::{ledger::WRITE, object::ObjectId};

use super::super::Session;

impl Session {
    /// Leaves out what was written through fds that the user did not ask for, to objects that are no output of a command.
    pub(super) fn leave_out_other_fds(&mut self) {
        let Some(asked) = self.sandboxes.values().find_map(|sandbox| sandbox.only_fds) else {
            return;
        };
        let is_asked = |fd: i32| (0..64).contains(&fd) && asked >> fd & 1 == 1;
        let mut kept: BTreeSet<ObjectId> = self
            .ledger
            .keys()
            .filter(|key| key.direction == WRITE && is_asked(key.fd) || key.process.sandbox > 0)
            .map(|key| key.object)
            .collect();
        for process in self.processes.values() {
            let past = process.past_images.iter().map(|image| &image.stdio);
            let stdio = past.chain([&process.stdio, &process.stdio_at_end]).flatten().flatten();
            kept.extend(stdio.map(|state| state.object));
        }
        kept.extend(kept.clone().iter().map(|object| self.peer(object)));
        // What relays pass on, to any fd.
        let of_relays = self.objects.values().filter(|object| object.hop > 0);
        kept.extend(of_relays.map(|object| object.id));
        let is_sentry = |id| self.sandboxes.values().any(|sandbox| sandbox.sentry == id);
        // What `runsc` writes to start a sandbox is of no interest, and is left out already.
        let sentries =
            self.sandboxes.values().filter_map(|sandbox| self.processes.get(&sandbox.sentry));
        let starters: BTreeSet<_> = sentries.map(|sentry| sentry.parent).collect();
        let left_out: Vec<_> = self
            .ledger
            .keys()
            .filter(|key| !kept.contains(&key.object) && !is_sentry(key.process))
            .copied()
            .collect();
        for key in left_out {
            let Some(row) = self.ledger.remove(&key) else { continue };
            self.objects.remove(&key.object);
            if let Some(process) = self.processes.get_mut(&key.process)
                && key.direction == WRITE
                && !starters.contains(&key.process)
            {
                let (bytes, calls) = (&mut process.other_bytes, &mut process.other_calls);
                *bytes = bytes.map(|bytes| bytes.saturating_add(row.bytes));
                *calls = calls.map(|calls| calls.saturating_add(row.calls));
            }
        }
    }
}
