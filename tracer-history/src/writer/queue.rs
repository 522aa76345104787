//! The queue between the callers and the thread that writes.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::attached::Before;
use crate::{Entry, Gap, Place, entry::reason};

/// Gaps that may wait, and as many other messages: they are rare.
const MOST_OTHERS: usize = 1024;

/// What callers tell.
#[derive(Debug)]
pub(super) enum Message {
    Entry(Box<Entry>),
    Gap(Gap),
    Attached { scope: String, at_us: i64, before: Before },
    Alive(i64),
    Detached { at_us: i64, reason: String },
}

/// Entries that were not kept.
#[derive(Clone, Debug)]
pub(super) struct Missed {
    from_us: i64,
    until_us: i64,
    events: u64,
    bytes: u64,
}

impl Missed {
    /// How many there were.
    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// What a gap stands for that is not kept by itself.
    pub(super) fn of(gap: &Gap) -> Self {
        let Gap { from_us, until_us, events, bytes, .. } = *gap;
        Self { from_us, until_us, events, bytes }
    }
}

/// Entries that were not kept, by reason.
pub(super) type AllMissed = BTreeMap<&'static str, Missed>;

/// Counts entries that were not kept.
pub(super) fn miss(all: &mut AllMissed, why: &'static str, entries: &[Entry]) {
    for entry in entries {
        let bytes =
            entry.streams.iter().fold(0_u64, |sum, stream| sum.saturating_add(stream.bytes));
        let (from_us, until_us) = (entry.ended_us, entry.ended_us);
        merge(all, why, &Missed { from_us, until_us, events: 1, bytes });
    }
}

/// Adds counts.
pub(super) fn merge(all: &mut AllMissed, why: &'static str, more: &Missed) {
    let sum = all.entry(why).or_insert_with(|| Missed { events: 0, bytes: 0, ..more.clone() });
    sum.from_us = sum.from_us.min(more.from_us);
    sum.until_us = sum.until_us.max(more.until_us);
    sum.events = sum.events.saturating_add(more.events);
    sum.bytes = sum.bytes.saturating_add(more.bytes);
}

/// The gaps that tell of entries that were not kept.
pub(super) fn gaps_of(all: &AllMissed) -> Vec<Gap> {
    let gap = |(why, missed): (&&str, &Missed)| Gap {
        from_us: missed.from_us,
        until_us: missed.until_us,
        reason: (*why).to_owned(),
        events: missed.events,
        bytes: missed.bytes,
        container: None,
    };
    all.iter().map(gap).collect()
}

/// What the thread takes at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Message>,
    pub(super) missed: AllMissed,
    /// Whether nothing follows.
    pub(super) is_last: bool,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    entries: usize,
    bytes: usize,
    missed: AllMissed,
    /// The latest sign of life, which comes after all messages.
    alive: Option<i64>,
    is_closed: bool,
    is_finished: bool,
}

/// A bounded queue. Its lock is never held during anything that can block.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    most_entries: usize,
    most_bytes: usize,
}

impl Queue {
    pub(super) fn new(most_entries: usize, most_bytes: usize) -> Self {
        let state = Mutex::new(State::default());
        Self { state, changed: Condvar::new(), most_entries, most_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, entry: Entry) {
        let size = size_of(&entry);
        let mut state = self.lock();
        if state.is_closed
            || state.entries >= self.most_entries
            || state.bytes.saturating_add(size) > self.most_bytes
        {
            miss(&mut state.missed, reason::FULL, &[entry]);
            return;
        }
        state.entries += 1;
        state.bytes += size;
        state.messages.push_back(Message::Entry(Box::new(entry)));
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn push(&self, message: Message) {
        let mut state = self.lock();
        if let Message::Alive(at_us) = message {
            // Only the latest counts.
            state.alive = Some(at_us);
            drop(state);
            self.changed.notify_all();
            return;
        }
        let others = state.messages.len().saturating_sub(state.entries);
        match message {
            Message::Gap(gap) if others >= MOST_OTHERS => {
                merge(&mut state.missed, reason::FULL, &Missed::of(&gap));
                return;
            }
            _ if others >= 2 * MOST_OTHERS => return,
            _ => {}
        }
        let alive = state.alive.take().map(Message::Alive);
        state.messages.extend(alive);
        state.messages.push_back(message);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits for something to write: for `batch` entries, or until `next` if there is anything at all.
    pub(super) fn take(&self, batch: usize, next: Instant) -> Taken {
        let mut state = self.lock();
        while !state.is_closed && state.entries < batch {
            let wait = next.saturating_duration_since(Instant::now());
            let is_empty =
                state.messages.is_empty() && state.missed.is_empty() && state.alive.is_none();
            state = match (wait.is_zero(), is_empty) {
                (true, false) => break,
                (_, true) => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                (false, false) => self.wait_for(state, wait),
            };
        }
        take_from(&mut state, batch)
    }

    fn wait_for<'a>(&self, state: MutexGuard<'a, State>, wait: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Tells [`Queue::wait_until_finished`] that the thread ends.
    pub(super) fn finish(&self) {
        self.lock().is_finished = true;
        self.changed.notify_all();
    }

    pub(super) fn wait_until_finished(&self, until: Instant) -> bool {
        let mut state = self.lock();
        while !state.is_finished {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return false;
            }
            state = self.wait_for(state, wait);
        }
        true
    }
}

fn take_from(state: &mut State, batch: usize) -> Taken {
    let mut taken = Taken { missed: mem::take(&mut state.missed), ..Taken::default() };
    let mut entries = 0;
    while entries < batch
        && let Some(message) = state.messages.pop_front()
    {
        if let Message::Entry(entry) = &message {
            entries += 1;
            state.entries -= 1;
            state.bytes -= size_of(entry);
        }
        taken.messages.push(message);
    }
    if state.messages.is_empty() {
        taken.messages.extend(state.alive.take().map(Message::Alive));
    }
    taken.is_last = state.is_closed && state.messages.is_empty();
    taken
}

/// About how much memory an entry takes.
fn size_of(entry: &Entry) -> usize {
    let Place { cgroup, engine, container_id, container, image, namespace, pod, unit } =
        &entry.place;
    let optional = [engine, container_id, container, image, namespace, pod, unit];
    let place = cgroup.len() + optional.into_iter().flatten().map(String::len).sum::<usize>();
    let stream = |stream: &crate::Stream| {
        size_of_val(stream)
            + stream.destination.len()
            + stream.outcome.len()
            + stream.reader.as_ref().map_or(0, String::len)
    };
    let tail = |tail: &crate::Tail| size_of_val(tail) + tail.object.len() + tail.text.len();
    let texts = [&entry.name, &entry.command, &entry.rule, &entry.severity, &entry.confidence];
    size_of_val(entry)
        + place
        + entry.streams.iter().map(stream).sum::<usize>()
        + texts.into_iter().map(String::len).sum::<usize>()
        + entry.sentence.len()
        + entry.report.as_ref().map_or(0, Vec::len)
        + entry.tails.iter().map(tail).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ended_us: i64) -> Entry {
        Entry { ended_us, ..Entry::default() }
    }

    #[test]
    fn what_finds_no_room_is_counted_with_its_time() {
        let queue = Queue::new(2, usize::MAX);
        (1..=5).for_each(|at| queue.add(entry(at)));
        let taken = queue.take(500, Instant::now());
        assert_eq!(taken.messages.len(), 2);
        let gaps = gaps_of(&taken.missed);
        assert_eq!((gaps[0].from_us, gaps[0].until_us, gaps[0].events), (3, 5, 3));
        assert_eq!(gaps[0].reason, reason::FULL);
        queue.add(entry(6));
        assert_eq!(queue.take(500, Instant::now()).messages.len(), 1);
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let queue = Queue::new(100, 10_000);
        let large = Entry { report: Some(vec![0; 9000]), ..Entry::default() };
        queue.add(large.clone());
        queue.add(large);
        let taken = queue.take(500, Instant::now());
        assert_eq!((taken.messages.len(), gaps_of(&taken.missed)[0].events), (1, 1));
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn signs_of_life_take_one_place() {
        let queue = Queue::new(usize::MAX, usize::MAX);
        for at in 0..10_000 {
            queue.push(Message::Alive(at));
            queue.add(entry(at));
        }
        queue.push(Message::Detached { at_us: 10_000, reason: "x".into() });
        let messages = queue.take(usize::MAX, Instant::now()).messages;
        assert_eq!(messages.len(), 10_002);
        let [.., Message::Alive(9999), Message::Detached { .. }] = messages.as_slice() else {
            panic!("{:?}", messages.last())
        };
    }

    #[test]
    fn other_messages_are_bounded() {
        let queue = Queue::new(1, 1);
        (0..2000).for_each(|_| queue.push(Message::Gap(Gap { events: 1, ..Gap::default() })));
        let end = || Message::Detached { at_us: 5, reason: "x".into() };
        (0..5000).for_each(|_| queue.push(end()));
        let taken = queue.take(500, Instant::now());
        assert_eq!(taken.messages.len(), 2 * MOST_OTHERS);
        assert_eq!(gaps_of(&taken.missed)[0].events, 2000 - MOST_OTHERS as u64);
    }
}
