//! The connections of sandboxes, and what each has sent until it is known which sandbox it belongs to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracer_gvisor::{Guest, sink::Origin};

/// How long messages may wait until it is known which sandbox sends them.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// The most bytes of messages that wait so, of all connections.
const MOST_WAITING: usize = 64 << 20;
/// What a message takes beside its bytes.
const EACH: usize = 64;
/// How many messages are searched for the id of a container: each has it, unless the sandbox lies.
const MOST_SEARCHED: usize = 16;

/// Who sends on a connection.
enum Sender {
    /// It is not known yet.
    Unknown(Unknown),
    /// A sandbox of the target.
    Sandbox(Box<Guest>),
    /// A sandbox that does not belong to the target. What it sends is ignored.
    Foreign,
}

/// A connection of which it is not known which sandbox it belongs to.
pub(super) struct Unknown {
    /// Where it comes from.
    pub(super) origin: Origin,
    since: Instant,
    messages: Vec<Bytes>,
    /// Messages that found no room.
    lost: u64,
    /// Whether the other end was closed.
    pub(super) is_closed: bool,
}

impl Unknown {
    /// The id of the container that its first messages are about.
    pub(super) fn container(&self) -> Option<String> {
        let first = self.messages.iter().take(MOST_SEARCHED);
        first.into_iter().find_map(|message| tracer_gvisor::container_of(message))
    }

    /// Whether the sandbox has been unknown for too long: most likely it is not one of the trace.
    pub(super) fn is_late(&self) -> bool {
        self.since.elapsed() > UNKNOWN_FOR
    }

    /// Whether it has sent nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.messages.is_empty()
    }
}

/// All connections that are open, or whose messages wait.
#[derive(Default)]
pub(super) struct Connections {
    senders: BTreeMap<u32, Sender>,
    /// Bytes of messages that wait.
    waiting: usize,
    /// Messages of sandboxes that were not taken.
    lost: u64,
}

impl Connections {
    pub(super) fn connected(&mut self, number: u32, origin: Origin) {
        let (since, messages) = (Instant::now(), Vec::new());
        let unknown = Unknown { origin, since, messages, lost: 0, is_closed: false };
        self.senders.insert(number, Sender::Unknown(unknown));
    }

    /// Takes a message.
    pub(super) fn message(&mut self, number: u32, message: Bytes) {
        match self.senders.get_mut(&number) {
            Some(Sender::Sandbox(guest)) => guest.take(&message),
            Some(Sender::Unknown(unknown)) => {
                let size = message.len() + EACH;
                if self.waiting + size > MOST_WAITING {
                    unknown.lost += 1;
                } else {
                    self.waiting += size;
                    unknown.messages.push(message);
                }
            }
            Some(Sender::Foreign) | None => {}
        }
    }

    /// The other end was closed. Returns the sandbox that sent.
    pub(super) fn closed(&mut self, number: u32) -> Option<Box<Guest>> {
        match self.senders.get_mut(&number)? {
            Sender::Unknown(unknown) => {
                unknown.is_closed = true;
                return None;
            }
            Sender::Sandbox(_) | Sender::Foreign => {}
        }
        match self.senders.remove(&number)? {
            Sender::Sandbox(guest) => Some(guest),
            Sender::Unknown(_) | Sender::Foreign => None,
        }
    }

    /// A message that there was no time for. Those of foreign sandboxes do not count.
    pub(super) fn not_taken(&mut self, number: u32) {
        let is_foreign = matches!(self.senders.get(&number), Some(Sender::Foreign) | None);
        self.lost += u64::from(!is_foreign);
    }

    /// The connections of which it is not known which sandbox they belong to.
    pub(super) fn unknown(&self) -> Vec<u32> {
        let is_unknown = |(number, sender): (&u32, &Sender)| {
            matches!(sender, Sender::Unknown(_)).then_some(*number)
        };
        self.senders.iter().filter_map(is_unknown).collect()
    }

    pub(super) fn get_unknown(&self, number: u32) -> Option<&Unknown> {
        match self.senders.get(&number)? {
            Sender::Unknown(unknown) => Some(unknown),
            Sender::Sandbox(_) | Sender::Foreign => None,
        }
    }

    /// It is known now that it belongs to this sandbox, which takes what has waited. Returns the sandbox if it has closed
    /// the connection.
    pub(super) fn belongs_to(&mut self, number: u32, mut guest: Guest) -> Option<Box<Guest>> {
        let Some(Sender::Unknown(unknown)) = self.senders.remove(&number) else { return None };
        self.lost += unknown.lost;
        for message in &unknown.messages {
            self.waiting -= message.len() + EACH;
            guest.take(message);
        }
        let guest = Box::new(guest);
        if unknown.is_closed {
            return Some(guest);
        }
        self.senders.insert(number, Sender::Sandbox(guest));
        None
    }

    /// It belongs to no sandbox of the target.
    pub(super) fn is_foreign(&mut self, number: u32) {
        if let Some(Sender::Unknown(unknown)) = self.senders.remove(&number) {
            self.waiting -=
                unknown.messages.iter().map(|message| message.len() + EACH).sum::<usize>();
            if !unknown.is_closed {
                self.senders.insert(number, Sender::Foreign);
            }
        }
    }

    /// The trace ends: what came to the path that other programs know, and is still not known to be a target's, is of no
    /// target.
    pub(super) fn ignore_second(&mut self) {
        for number in self.unknown() {
            if self.get_unknown(number).is_some_and(|unknown| unknown.origin.is_second) {
                self.is_foreign(number);
            }
        }
    }

    /// The sandboxes that are connected.
    pub(super) fn guests(&mut self) -> impl Iterator<Item = &mut Guest> {
        self.senders.values_mut().filter_map(|sender| match sender {
            Sender::Sandbox(guest) => Some(&mut **guest),
            Sender::Unknown(_) | Sender::Foreign => None,
        })
    }

    /// Whether every sandbox that may belong to the target has closed its connection.
    pub(super) fn are_closed(&self) -> bool {
        self.senders.values().all(|sender| match sender {
            Sender::Unknown(unknown) => unknown.is_closed,
            Sender::Sandbox(_) => false,
            Sender::Foreign => true,
        })
    }

    /// Whether there was never one, or all are gone.
    pub(super) fn are_none(&self) -> bool {
        self.senders.is_empty()
    }

    /// Messages that were not taken: there was no room or no time, or it was never known which sandbox sent them.
    pub(super) fn lost(&self) -> u64 {
        let waiting = self.senders.values().map(|sender| match sender {
            Sender::Unknown(unknown) => unknown.messages.len() as u64 + unknown.lost,
            Sender::Sandbox(_) | Sender::Foreign => 0,
        });
        self.lost + waiting.sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { pid: 7, is_second: false };

    #[test]
    fn what_an_unknown_sandbox_sends_is_bounded_and_what_is_too_much_is_counted() {
        let mut connections = Connections::default();
        connections.connected(1, ORIGIN);
        connections.connected(2, ORIGIN);
        for number in [1, 2].into_iter().cycle().take(400) {
            connections.message(number, Bytes::from(vec![0; 256 << 10]));
        }
        assert!(connections.waiting <= MOST_WAITING);
        assert_eq!(connections.lost(), 400);
        connections.is_foreign(1);
        connections.is_foreign(2);
        assert_eq!((connections.waiting, connections.lost()), (0, 0));
        assert!(connections.are_closed());
    }

    #[test]
    fn connections_that_were_closed_take_no_room() {
        let mut connections = Connections::default();
        for number in 0..10 {
            connections.connected(number, ORIGIN);
            connections.is_foreign(number);
            assert!(connections.closed(number).is_none());
        }
        assert!(connections.are_none());
    }
}
