//! Takes objects out that have ended, and adds up their rows.

use std::collections::BTreeSet;

use tracer_common::{ledger::LedgerKey, object::ObjectId};

use crate::session::{Kind, Object, Session};

/// The object that stands for objects that have ended: those that targets wrote to.
const ENDED: ObjectId = ObjectId { ino: u64::MAX, dev: u32::MAX, discriminator: 0 };
/// The object that stands for those of relays.
const ENDED_OF_RELAYS: ObjectId = ObjectId { discriminator: 1, ..ENDED };

impl Session {
    /// Takes objects out that have ended and that no process that is left had as stdin, stdout or stderr; their rows
    /// are added up. Of those to be kept, only the ones that no process that is left used. Returns how many lost bytes.
    pub(super) fn forget_objects(
        &mut self,
        is_watched: &impl Fn(&ObjectId) -> bool,
        keep: &BTreeSet<ObjectId>,
    ) -> u64 {
        let used = self.used_objects(keep);
        let stays = |session: &Self, object: &ObjectId| {
            [*object, session.peer(object)].iter().any(|id| used.contains(id) || is_watched(id))
        };
        let ended: Vec<ObjectId> = self
            .objects
            .keys()
            .filter(|id| !stands_for_others(id) && !stays(self, id))
            .copied()
            .collect();
        if ended.is_empty() {
            return 0;
        }
        let lossy = if keep.is_empty() { self.lossy(is_watched) } else { BTreeSet::new() };
        let of_relays: BTreeSet<ObjectId> = ended
            .iter()
            .filter(|id| self.objects.get(id).is_some_and(|object| object.hop > 0))
            .copied()
            .collect();
        for object in &ended {
            self.forget_object(object);
        }
        let is_known = |object: &ObjectId| object.is_none() || self.objects.contains_key(object);
        let is_gone = |object: &ObjectId| {
            !is_known(object) && !is_watched(object) && !stands_for_others(object)
        };
        let rows: Vec<LedgerKey> =
            self.ledger.keys().filter(|key| is_gone(&key.object)).copied().collect();
        for key in rows {
            let of_relay = of_relays.contains(&key.object);
            let object = if of_relay { ENDED_OF_RELAYS } else { ENDED };
            self.move_row(key, LedgerKey { object, fd: -1, ..key });
        }
        for (id, path) in [
            (ENDED, "objects that have ended"),
            (ENDED_OF_RELAYS, "objects of relays that have ended"),
        ] {
            let hop = id.discriminator;
            self.add_object(Object {
                id,
                hop,
                kind: Kind::Unknown,
                path: path.to_owned(),
                ..Object::default()
            });
        }
        ended.iter().filter(|id| lossy.contains(id)).count() as u64
    }

    /// Objects that processes that are left have or had as standard fds or have open for reading, and those to be kept
    /// that they wrote to or read from.
    fn used_objects(&self, keep: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        let processes = self.processes.values();
        let stdio = processes.flat_map(|process| [process.stdio, process.stdio_at_end]);
        let stdio = stdio.flatten().flatten().map(|state| state.object);
        let rows = self.ledger.keys().filter(|key| key.process.tgid != 0);
        let kept = rows.map(|key| key.object).filter(|object| keep.contains(object));
        stdio.chain(self.ends.open_objects()).chain(kept).collect()
    }

    pub(in crate::session) fn forget_object(&mut self, id: &ObjectId) {
        if let Some(object) = self.objects.remove(id) {
            let name = object.name();
            if let Some(count) = self.names.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.names.remove(&name);
                }
            }
        }
        if let Some(peer) = self.joined.remove(id) {
            self.joined.remove(&peer);
        }
        self.queues.remove(id);
        self.incoming.remove(id);
        self.surveyed.remove(id);
        self.created.remove(id);
        self.ends.forget_object(id);
    }
}

fn stands_for_others(object: &ObjectId) -> bool {
    (object.ino, object.dev) == (ENDED.ino, ENDED.dev)
}
