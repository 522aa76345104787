//! The last bytes of many streams in bounded memory: what a recorder keeps of output until it is judged.
//!
//! There is a ring for each object that is written to. It knows which process wrote which of its bytes, because several
//! commands can write to one object. The bytes of a command leave with [`Tails::forget`].

mod ring;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tracer_common::{id::ProcessId, object::ObjectId};

use self::ring::Ring;
use super::{
    Reason,
    chunk::{Chunk, Content},
};

/// What one object takes beside its bytes: its place in the table, and the smallest ring.
const EACH: usize = 512;

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailLimits {
    /// Bytes of each object.
    pub stream: usize,
    /// Bytes of memory for all of them together.
    pub total: usize,
}

/// The last bytes that were written to each object.
#[derive(Debug)]
pub struct Tails {
    limits: TailLimits,
    rings: HashMap<ObjectId, Ring>,
    /// Memory of all rings.
    held: usize,
}

/// A part of what is kept of an object, in the order of the writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailPart {
    /// Bytes of one process.
    Bytes(ProcessId, Vec<u8>),
    /// Bytes of one process that are missing, and why.
    Gap(ProcessId, u64, Reason),
}

impl TailPart {
    /// The process that wrote it.
    #[must_use]
    pub const fn process(&self) -> ProcessId {
        match self {
            Self::Bytes(process, _) | Self::Gap(process, ..) => *process,
        }
    }

    /// How many bytes of the stream it stands for.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(_, bytes) => bytes.len() as u64,
            Self::Gap(_, length, _) => *length,
        }
    }
}

/// What is kept of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The parts, the first written first.
    pub parts: Vec<TailPart>,
    /// Whether earlier bytes were overwritten.
    pub is_cut: bool,
    /// Whether they were overwritten early, because all streams together had reached their limit.
    pub is_short: bool,
    /// Of each process and fd, the bytes that are known to have found no room in the kernel's ring.
    pub lost: Vec<(ProcessId, i32, u64)>,
}

impl Tails {
    /// Nothing is kept yet.
    #[must_use]
    pub fn new(limits: TailLimits) -> Self {
        Self { limits, rings: HashMap::new(), held: 0 }
    }

    /// Bytes of memory that all rings take.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many objects have a ring.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rings.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rings.is_empty()
    }

    /// Takes what was written. If there is no memory for a further object, nothing of it is kept: [`Self::kept`] has then
    /// nothing, and the row of the ledger says that bytes arrived.
    pub fn see(&mut self, chunk: &Chunk) {
        let room = self.limits.total.saturating_sub(self.held);
        if !self.rings.contains_key(&chunk.key.object) {
            if room < EACH {
                return;
            }
            self.rings.insert(chunk.key.object, Ring::new(self.limits.stream));
            self.held += EACH;
        }
        let room = self.limits.total.saturating_sub(self.held);
        let Some(ring) = self.rings.get_mut(&chunk.key.object) else { return };
        let before = ring.memory();
        let process = chunk.key.process;
        let lost = ring.misses(process, chunk.key.fd, chunk.lost);
        ring.gap(process, lost, Reason::RingFull);
        match &chunk.content {
            Content::Bytes(bytes) => ring.bytes(process, bytes, room),
            Content::Missing { length, reason, .. } => ring.gap(process, *length, *reason),
        }
        ring.last_ns = ring.last_ns.max(chunk.time_ns);
        self.held = (self.held + ring.memory()).saturating_sub(before);
    }

    /// What is kept of an object; `None` if it has no ring.
    #[must_use]
    pub fn kept(&self, object: &ObjectId) -> Option<Kept> {
        self.rings.get(object).map(Ring::kept)
    }

    /// Removes what some processes have written to an object.
    pub fn forget(&mut self, object: &ObjectId, is_of: impl Fn(&ProcessId) -> bool) {
        let Some(ring) = self.rings.get_mut(object) else { return };
        let before = ring.memory();
        ring.forget(is_of);
        self.held = (self.held + ring.memory()).saturating_sub(before);
        if ring.is_empty() {
            self.remove(object);
        }
    }

    /// Removes the rings of objects that do not stay, unless something was written after `since_ns` (nanoseconds since
    /// boot): their first bytes may be here before anything else is known about them.
    pub fn retain(&mut self, since_ns: u64, stays: impl Fn(&ObjectId) -> bool) {
        let leaves =
            |(object, ring): &(&ObjectId, &Ring)| ring.last_ns < since_ns && !stays(object);
        let gone: Vec<ObjectId> =
            self.rings.iter().filter(leaves).map(|(object, _)| *object).collect();
        gone.iter().for_each(|object| self.remove(object));
        // The table gives its memory back too.
        if self.rings.capacity() > 4 * self.rings.len().max(64) {
            self.rings.shrink_to_fit();
        }
    }

    fn remove(&mut self, object: &ObjectId) {
        if let Some(ring) = self.rings.remove(object) {
            self.held = self.held.saturating_sub(ring.memory() + EACH);
        }
    }
}
