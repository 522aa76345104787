//! What this trace has put into the kernel's tables, and which of it has ended.
//!
//! The eBPF programs take out entries whose end they see: processes, closed read ends, finished requests. No hook
//! reports the end of an object. So each event after which an object may have ended makes the object *doubtful*, and
//! a sweep asks the kernel only about doubtful objects. Every object is doubtful when the last target has ended, and
//! from time to time in a long trace, because events can be lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tracer_common::{
    event::{Holder, fact},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow},
    loss::{LossCell, Reason},
    object::ObjectId,
};
use tracer_core::{
    event::{Event, EventKind, Sighting},
    session::{Kind, Session},
};
use tracer_loader::{Loader, LoaderError, Owner};

use crate::sys::processes::exists;

/// How often a full sweep checks everything.
const EVERYTHING: Duration = Duration::from_secs(10);
/// A full sweep takes at most one part in this many of the time.
const SHARE: u32 = 100;
/// How many sweeps check an object after the event that made it doubtful: its last holder may close it a moment
/// later.
const SWEEPS: u8 = 3;

/// Questions that only the kernel can answer.
pub(super) trait Tables {
    /// Takes an object out if it has ended ([`Loader::release_object`]).
    fn release(&mut self, object: &ObjectId, is_held: bool) -> Result<bool, LoaderError>;
    /// Whether an fd may lead to an object now ([`Loader::may_lead_to`]).
    fn may_lead_to(&mut self, at: (ProcessId, i32), object: &ObjectId)
    -> Result<bool, LoaderError>;
}

impl Tables for Loader {
    fn release(&mut self, object: &ObjectId, is_held: bool) -> Result<bool, LoaderError> {
        self.release_object(object, is_held)
    }

    fn may_lead_to(
        &mut self,
        at: (ProcessId, i32),
        object: &ObjectId,
    ) -> Result<bool, LoaderError> {
        Loader::may_lead_to(self, at.0, at.1, object)
    }
}

/// What this trace has put into the kernel's tables.
#[derive(Debug)]
pub(super) struct Lifetimes {
    /// The rows of each process.
    rows: BTreeMap<ProcessId, BTreeSet<LedgerKey>>,
    /// The same rows, by object.
    rows_on: BTreeMap<ObjectId, BTreeSet<LedgerKey>>,
    /// What fd 0, 1 and 2 of each process lead to, according to events.
    stdio: BTreeMap<ProcessId, [ObjectId; 3]>,
    /// The same fds, by object.
    stdio_on: BTreeMap<ObjectId, BTreeSet<(ProcessId, i32)>>,
    /// Watched objects.
    watched: BTreeSet<ObjectId>,
    /// Objects that may have ended, each with the number of sweeps that still check it.
    doubtful: BTreeMap<ObjectId, u8>,
    /// Objects that the latest sweep took out. Records of their last rows may still be in the ring.
    released: Vec<ObjectId>,
    /// Rows that were opened after their process had ended.
    late: Vec<LedgerKey>,
    /// The next full sweep.
    next_everything: Instant,
    /// No full sweep before this, so that full sweeps keep to their [`SHARE`].
    rest_until: Instant,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            rows_on: BTreeMap::new(),
            stdio: BTreeMap::new(),
            stdio_on: BTreeMap::new(),
            watched: BTreeSet::new(),
            doubtful: BTreeMap::new(),
            released: Vec::new(),
            late: Vec::new(),
            next_everything: Instant::now() + EVERYTHING,
            rest_until: Instant::now(),
        }
    }
}

impl Lifetimes {
    /// Applies an event that the session has applied.
    pub(super) fn event(&mut self, event: &Event, session: &Session) {
        match &event.kind {
            EventKind::Fork { parent, child, .. } => {
                let inherited = self.stdio.get(parent).copied().unwrap_or_default();
                self.set_stdio(*child, inherited);
            }
            EventKind::Image(image) => {
                self.set_stdio(image.process, image.stdio.map(|state| state.object));
            }
            EventKind::Object { object, .. } => {
                self.watched.insert(object.id);
            }
            EventKind::FirstIo { first, .. } => self.opened(first.key, session),
            EventKind::Fact { fact, .. } if fact.fact == fact::FD_REPLACED => {
                self.set_fd(fact.process, fact.fd, fact.state.object);
            }
            EventKind::Fact { fact, .. } if fact.fact == fact::FD_CLOSED => {
                self.set_fd(fact.process, fact.fd, ObjectId::NONE);
            }
            EventKind::Holder { holder, sighting, .. } => self.seen(holder, *sighting),
            EventKind::Exit(exit) => {
                self.doubt(exit.stdio.map(|state| state.object));
                self.set_stdio(exit.process, [ObjectId::NONE; 3]);
                self.stdio.remove(&exit.process);
            }
            _ => {}
        }
    }

    /// Whether an object is in the kernel's tables, or has just been taken out.
    pub(super) fn is_watched(&self, object: &ObjectId) -> bool {
        self.watched.contains(object) || self.released.contains(object)
    }

    fn opened(&mut self, key: LedgerKey, session: &Session) {
        if session.processes.get(&key.process).is_some_and(|process| process.end_ns.is_some()) {
            self.late.push(key);
            self.doubt([key.object]);
            return;
        }
        self.rows.entry(key.process).or_default().insert(key);
        self.rows_on.entry(key.object).or_default().insert(key);
        // The record of the row waited in the ring until a sweep had taken the object out.
        if !self.watched.contains(&key.object) && session.objects.contains_key(&key.object) {
            self.doubtful.insert(key.object, SWEEPS);
        }
    }

    fn seen(&mut self, holder: &Holder, sighting: Sighting) {
        if sighting == Sighting::Closed {
            self.doubt([holder.state.object]);
        }
    }

    fn set_stdio(&mut self, process: ProcessId, objects: [ObjectId; 3]) {
        for (fd, object) in (0..).zip(objects) {
            self.set_fd(process, fd, object);
        }
    }

    /// An fd leads to another object now. The object before it becomes doubtful.
    fn set_fd(&mut self, process: ProcessId, fd: i32, object: ObjectId) {
        let Ok(index) = usize::try_from(fd) else { return };
        let stdio = self.stdio.entry(process).or_default();
        let Some(known) = stdio.get_mut(index) else { return };
        let before = std::mem::replace(known, object);
        if before == object {
            return;
        }
        take(&mut self.stdio_on, &before, &(process, fd));
        self.doubt([before]);
        if !object.is_none() {
            self.stdio_on.entry(object).or_default().insert((process, fd));
        }
    }

    /// Makes these objects doubtful.
    fn doubt(&mut self, objects: impl IntoIterator<Item = ObjectId>) {
        for object in objects.into_iter().filter(|object| self.watched.contains(object)) {
            self.doubtful.insert(object, SWEEPS);
        }
    }

    /// The rows of a process that has ended. The caller takes them out of the kernel.
    pub(super) fn rows_of_ended(&mut self, process: ProcessId) -> BTreeSet<LedgerKey> {
        let rows = self.rows.remove(&process).unwrap_or_default();
        for key in &rows {
            take(&mut self.rows_on, &key.object, key);
            self.doubt([key.object]);
        }
        rows
    }

    /// Takes ended objects out of the kernel's tables. Returns the rows of the objects that the sweep before took
    /// out: the caller has emptied the ring since then.
    ///
    /// # Errors
    /// [`LoaderError`].
    pub(super) fn sweep(
        &mut self,
        tables: &mut impl Tables,
        session: &Session,
    ) -> Result<Vec<LedgerKey>, LoaderError> {
        let mut ended = std::mem::take(&mut self.late);
        for object in std::mem::take(&mut self.released) {
            // A file that was opened again continues with its rows.
            if !self.watched.contains(&object) {
                ended.extend(self.rows_of(&object));
            }
        }
        for (object, sweeps) in std::mem::take(&mut self.doubtful) {
            let is_held = self.is_held(&object, tables, session)?;
            if tables.release(&object, is_held)? {
                self.watched.remove(&object);
                self.doubt(session.joined.get(&object).copied());
                self.released.push(object);
            } else if sweeps > 1 {
                self.doubtful.entry(object).or_insert(sweeps - 1);
            }
        }
        Ok(ended)
    }

    /// Whether an fd of a followed process leads to an object. For pipes and sockets the kernel itself knows whether
    /// they are open. A pty's master has ended when its slave has.
    fn is_held(
        &self,
        object: &ObjectId,
        tables: &mut impl Tables,
        session: &Session,
    ) -> Result<bool, LoaderError> {
        let kind = session.object_kind(object);
        if kind.is_pipe() || kind == Kind::Socket {
            return Ok(false);
        }
        let other_half = session.joined.get(object);
        if other_half.is_some_and(|other| self.watched.contains(other)) {
            return Ok(true);
        }
        let rows = self.rows_on.get(object).into_iter().flatten();
        let stdio = self.stdio_on.get(object).into_iter().flatten();
        for fd in stdio.copied().chain(rows.map(|key| (key.process, key.fd))) {
            if tables.may_lead_to(fd, object)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets the rows of an object.
    fn rows_of(&mut self, object: &ObjectId) -> BTreeSet<LedgerKey> {
        let ended = self.rows_on.remove(object).unwrap_or_default();
        for key in &ended {
            take(&mut self.rows, &key.process, key);
        }
        ended
    }

    /// Finds rows of processes that are gone, of which no record tells: the record found no room in the ring.
    fn find_untold_rows(&mut self, rows: &[(LedgerKey, LedgerRow)]) {
        let is_told =
            |key: &LedgerKey| self.rows.get(&key.process).is_some_and(|own| own.contains(key));
        let untold = rows.iter().map(|(key, _)| *key);
        let untold = untold.filter(|key| !is_told(key) && !exists(key.process.tgid));
        self.late.extend(untold);
    }

    /// The next sweep is a full one, as soon as its [`SHARE`] allows.
    pub(super) fn look_at_everything_next(&mut self) {
        self.next_everything = self.rest_until;
    }

    /// Takes what the kernel watches for what is watched.
    ///
    /// # Errors
    /// [`LoaderError`].
    pub(super) fn set_watched(&mut self, loader: &Loader) -> Result<(), LoaderError> {
        self.watched = loader.watched_objects()?.into_iter().collect();
        Ok(())
    }

    /// Makes every object in the kernel's tables doubtful, and takes out what belongs to processes whose end was not
    /// seen, if it is time for a full sweep.
    ///
    /// # Errors
    /// [`LoaderError`].
    pub(super) fn look_at_everything(&mut self, loader: &mut Loader) -> Result<(), LoaderError> {
        let began = Instant::now();
        if began < self.next_everything {
            return Ok(());
        }
        loader.forget_the_dead(|owner| {
            let (Owner::Process(ProcessId { tgid: id, .. }) | Owner::Thread(id)) = owner;
            !exists(id)
        })?;
        let ring =
            |(reason, cell): &(Reason, LossCell)| *reason == Reason::RingFull && cell.events > 0;
        if loader.losses()?.iter().any(ring) {
            self.find_untold_rows(&loader.rows()?);
        }
        self.set_watched(loader)?;
        self.doubtful = self.watched.iter().map(|object| (*object, 1)).collect();
        let now = Instant::now();
        self.rest_until = now + (now - began) * SHARE;
        self.next_everything = self.rest_until.max(now + EVERYTHING);
        Ok(())
    }
}

/// Removes one entry from the set of a key, and removes the set if it is empty then.
fn take<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, entry: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(entry);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
