//! Which sightings of a survey say something new.
//!
//! A survey sends one sighting for each open file that leads to a watched object, each time. A pipe that a whole tree
//! has inherited has as many as there are processes, so only the first and the last survey of a trace are kept whole.

use std::collections::BTreeMap;

use tracer_common::{event::Holder, id::ProcessId, object::ObjectId};

use crate::event::{Event, EventKind, Sighting};

/// Which sightings of a survey are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All of them: the holders are listed anew.
    #[default]
    All,
    /// Those of holders that the survey before did not see.
    New,
    /// The same, and the latest look into each object.
    NewAndLooks,
}

/// Fd of a process, and what it leads to.
type Place = (ProcessId, i32, ObjectId);

/// What the latest surveys saw.
#[derive(Debug, Default)]
pub struct Sightings {
    keep: Keep,
    /// Number of the current survey.
    survey: u64,
    known: BTreeMap<Place, Known>,
    /// The latest sighting of each object that says nothing new.
    looks: BTreeMap<ObjectId, Event>,
}

/// A holder that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    flags: u32,
    /// It is 0 until the other end of a socket is accepted.
    peer_ino: u64,
    /// Survey that saw it last.
    survey: u64,
}

impl Sightings {
    /// Begins a survey.
    pub fn begin(&mut self, keep: Keep) {
        self.keep = keep;
        self.survey += 1;
    }

    /// Takes an event before it is applied. Returns false for a sighting that is to be left out.
    pub fn take(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::Holder { holder, sighting: Sighting::Open, .. } => self.seen(holder, event),
            EventKind::Holder { holder, sighting: Sighting::Closed | Sighting::Left, .. } => {
                self.known.remove(&(holder.process, holder.fd, holder.state.object));
                true
            }
            _ => true,
        }
    }

    fn seen(&mut self, holder: &Holder, event: &Event) -> bool {
        let object = holder.state.object;
        let known =
            Known { flags: holder.state.flags, peer_ino: holder.peer_ino, survey: self.survey };
        let before = self.known.insert((holder.process, holder.fd, object), known);
        let is_same = |before: Known| Known { survey: known.survey, ..before } == known;
        let is_kept = self.keep == Keep::All || !before.is_some_and(is_same);
        if !is_kept && self.keep == Keep::NewAndLooks {
            self.looks.insert(object, event.clone());
        }
        is_kept
    }

    /// Ends a survey: forgets holders that it did not see. Returns the latest looks, which are still to be applied.
    pub fn end(&mut self) -> Vec<Event> {
        self.known.retain(|_, known| known.survey == self.survey);
        std::mem::take(&mut self.looks).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::object::FdState;

    use super::*;

    fn event(tgid: u32, fd: i32, ino: u64, sighting: Sighting) -> Event {
        let object = ObjectId { ino, dev: 1, discriminator: 0 };
        let holder = Holder {
            process: ProcessId::new(tgid, 1),
            fd,
            state: FdState { object, ..FdState::default() },
            ..Holder::default()
        };
        Event { time_ns: 5, kind: EventKind::Holder { holder, comm: String::new(), sighting } }
    }

    /// Surveys, and returns the number of sightings that were kept and of looks.
    fn survey(sightings: &mut Sightings, keep: Keep, seen: &[Event]) -> (usize, usize) {
        sightings.begin(keep);
        let kept = seen.iter().filter(|event| sightings.take(event)).count();
        (kept, sightings.end().len())
    }

    #[test]
    fn a_holder_that_was_seen_before_is_not_new() {
        let mut sightings = Sightings::default();
        let workers: Vec<Event> = (1..=300).map(|tgid| event(tgid, 1, 9, Sighting::Open)).collect();
        assert_eq!(survey(&mut sightings, Keep::All, &workers), (300, 0));
        assert_eq!(survey(&mut sightings, Keep::New, &workers), (0, 0));
        assert_eq!(survey(&mut sightings, Keep::NewAndLooks, &workers), (0, 1));
        let more = [workers, vec![event(7, 3, 10, Sighting::Open)]].concat();
        assert_eq!(survey(&mut sightings, Keep::New, &more), (1, 0));
        assert_eq!(survey(&mut sightings, Keep::All, &more), (301, 0));
    }

    #[test]
    fn a_holder_that_closed_and_opened_again_is_new() {
        let mut sightings = Sightings::default();
        let worker = event(1, 0, 9, Sighting::Open);
        survey(&mut sightings, Keep::All, std::slice::from_ref(&worker));
        assert!(sightings.take(&event(1, 0, 9, Sighting::Closed)));
        assert_eq!(survey(&mut sightings, Keep::New, std::slice::from_ref(&worker)), (1, 0));
        // No event reports the close of a write end, but the next survey does not see it.
        assert_eq!(survey(&mut sightings, Keep::New, &[]), (0, 0));
        assert_eq!(survey(&mut sightings, Keep::New, &[worker]), (1, 0));
    }

    #[test]
    fn a_socket_whose_other_end_was_accepted_is_new() {
        let mut sightings = Sightings::default();
        let mut socket = event(1, 3, 9, Sighting::Open);
        survey(&mut sightings, Keep::All, std::slice::from_ref(&socket));
        if let EventKind::Holder { holder, .. } = &mut socket.kind {
            holder.peer_ino = 10;
        }
        assert_eq!(survey(&mut sightings, Keep::New, &[socket]), (1, 0));
    }
}
