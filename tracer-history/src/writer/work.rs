//! What the thread does.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Limits, Stand,
    attached::Attached,
    files::Files,
    queue::{AllMissed, Message, Missed, Queue, Taken, gaps_of, merge, miss},
};
use crate::{
    Entry, Gap,
    entry::reason,
    folder::Folder,
    names::FileName,
    store::{Batch, Fault, StoreError},
    time,
};

/// Entries of one transaction.
const BATCH: usize = 500;
/// At most one transaction in this time, unless a batch is full.
const INTERVAL: Duration = Duration::from_secs(1);
/// Gaps that wait until writing works.
const MOST_GAPS: usize = 1024;
/// How often a batch is tried: the second time on a new file, in a new folder.
const ATTEMPTS: usize = 2;

/// The state of the thread.
pub(super) struct Work {
    files: Files,
    attached: Attached,
    /// Where coverage and gaps are written.
    current: Option<FileName>,
    /// Gaps that are not written yet.
    gaps: Vec<Gap>,
    /// Entries that could not be written.
    missed: AllMissed,
    /// Whether the latest batch failed, which is told once.
    is_failing: bool,
    stand: Stand,
    /// What the callers are told of it.
    told: Arc<Mutex<Stand>>,
}

impl Work {
    pub(super) fn new(folder: Folder, limits: Limits, told: Arc<Mutex<Stand>>) -> Self {
        let reasons = [reason::FULL, reason::DISK_FULL, reason::FAILED];
        let missed = reasons.into_iter().map(|why| (why, 0)).collect();
        Self {
            stand: Stand { limit: limits.bytes, missed, ..Stand::default() },
            told,
            files: Files::new(folder, limits),
            attached: Attached::default(),
            current: None,
            gaps: Vec::new(),
            missed: AllMissed::new(),
            is_failing: false,
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        let previous = self.files.look_through();
        self.attached = Attached::after(previous.as_ref());
        self.gaps.extend(self.files.take_damaged());
        let mut next = Instant::now();
        loop {
            let taken = queue.take(BATCH, next);
            next = Instant::now() + INTERVAL;
            let is_last = taken.is_last;
            self.write(taken);
            if is_last {
                break;
            }
        }
        // Closes the files.
        drop(self);
        queue.finish();
    }

    fn write(&mut self, taken: Taken) {
        for (why, missed) in &taken.missed {
            merge(&mut self.missed, why, missed);
            self.stand.miss(why, missed.events());
        }
        let mut days = self.sort(taken.messages);
        let today = time::day(time::now());
        let is_told = self.gaps.is_empty() && self.missed.is_empty() && !self.attached.is_changed();
        if !is_told {
            days.entry(today).or_default();
        }
        for (day, entries) in days {
            let number = entries.len() as u64;
            if let Err(error) = self.write_day(day, &entries, day == today) {
                let why = match error.fault() {
                    Fault::DiskFull => reason::DISK_FULL,
                    Fault::Damaged | Fault::Other => reason::FAILED,
                };
                miss(&mut self.missed, why, &entries);
                self.stand.miss(why, number);
                if !mem::replace(&mut self.is_failing, true) {
                    tracing::warn!("the history cannot be written: {error}");
                }
            } else {
                self.stand.entries += number;
                if mem::take(&mut self.is_failing) {
                    tracing::warn!("the history is written again");
                }
            }
        }
        self.gaps.extend(self.files.take_damaged());
        self.keep_within_limits();
    }

    /// Removes old files, and tells how large the rest is.
    fn keep_within_limits(&mut self) {
        match self.files.keep_within_limits() {
            Ok((bytes, oldest)) => {
                self.stand.bytes = bytes;
                self.stand.oldest_us = oldest.and_then(|name| self.files.oldest_us(name));
            }
            Err(error) => tracing::debug!("cannot look for old files of the history: {error}"),
        }
        let told = &mut self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone_from(&self.stand);
    }

    /// Takes in what messages say, and returns the entries of each day.
    fn sort(&mut self, messages: Vec<Message>) -> BTreeMap<i64, Vec<Entry>> {
        let mut days: BTreeMap<i64, Vec<Entry>> = BTreeMap::new();
        for message in messages {
            match message {
                Message::Entry(entry) => {
                    days.entry(time::day(entry.ended_us)).or_default().push(*entry);
                }
                Message::Gap(gap) => self.gaps.push(gap),
                Message::Attached { scope, at_us, before } => {
                    self.gaps.extend(self.attached.begin(scope, at_us, before));
                }
                Message::Alive(at_us) => self.attached.go_on(at_us),
                Message::Detached { at_us, reason } => self.attached.end(at_us, &reason),
            }
        }
        for gap in self.gaps.split_off(MOST_GAPS.min(self.gaps.len())) {
            merge(&mut self.missed, reason::FULL, &Missed::of(&gap));
        }
        days
    }

    /// Writes the entries of a day; of today also coverage and gaps.
    fn write_day(&mut self, day: i64, entries: &[Entry], is_today: bool) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let written = match is_today {
                true => self.write_today(day, entries),
                false => self.files.of_day(day).and_then(|store| {
                    store.write(&Batch { entries, ..Batch::default() }).map(|_| ())
                }),
            };
            let Err(error) = written else { return Ok(()) };
            self.files.give_up(day, &error);
            self.gaps.extend(self.files.take_damaged());
            if attempt == ATTEMPTS || error.fault() == Fault::DiskFull {
                return Err(error);
            }
            attempt += 1;
        }
    }

    fn write_today(&mut self, day: i64, entries: &[Entry]) -> Result<(), StoreError> {
        let store = self.files.of_day(day)?;
        let name = store.name();
        // A file that was removed and made again has the same name, and often the same inode.
        if store.take_new() | (self.current.replace(name) != Some(name)) {
            self.attached.moved();
        }
        let mut gaps = self.gaps.clone();
        gaps.extend(gaps_of(&self.missed));
        let coverage = self.attached.changes(name);
        let ids = store.write(&Batch { entries, gaps: &gaps, coverage: &coverage })?;
        self.attached.written(name, &ids);
        self.gaps.clear();
        self.missed.clear();
        Ok(())
    }
}
