//! What a recorder leaves to the next one (`tracer daemon --pinned`).
//!
//! Programs and maps live on in bpffs. What this process has read from them, and has not yet put into the history, would
//! end with it. So it keeps a log in a file of tmpfs: each record before it leaves the ring, each row before it leaves its
//! map, and what user space has found out itself. A recorder that is killed at any moment leaves a log that, together with
//! the maps, is what it knew. The next one reads it and goes on.
//!
//! The log holds only what concerns processes and objects that live, or that are not judged yet: it is written anew
//! when it has doubled.

mod file;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, loss::LossCell};
use tracer_core::{
    event::{self, Event, EventKind},
    recording::{Loss, Row},
    session::{Account, Job, LossReason, Session},
};
use tracer_history::Place;

use self::file::LogFile;

/// The history has written an entry this long after it got it, or counts it as lost.
const IN_HISTORY: Duration = Duration::from_secs(2);
/// The size in bytes from which on the log is written anew when it has doubled.
const REWRITE_FROM: u64 = 8 << 20;
/// How many looks at the losses are kept.
const MOST_LOSSES: usize = 1_024;

/// How the first recorder of a series began. Later recorders continue its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// When every hook was attached.
    pub(super) start: Timestamp,
    /// The same, nanoseconds since boot.
    pub(super) start_ns: u64,
}

/// One part of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Item {
    /// How the first recorder began: one part near the beginning of the log.
    Begun(Begun),
    /// A record of the kernel.
    #[serde(skip)]
    Record(Vec<u8>),
    /// What user space has observed, and what it has kept of a survey.
    Observed(Event),
    /// A row that was taken out of its map.
    Row(Row),
    /// Sums of a process about what is forgotten.
    Account(Account),
    /// A job that is in the history.
    Judged(Job),
    /// What user space could not observe.
    Loss(Loss),
    /// All losses so far that the history knows of, at a time in nanoseconds since boot.
    Losses(u64, Vec<Loss>),
    /// A target cgroup: the low half of its id, and its path.
    Cgroup(u32, String),
    /// What runs in a cgroup, by its path.
    Named(String, Place),
    /// This process was adopted although it ran before, unseen.
    Late(ProcessId),
    /// The path of the cgroup that a process has entered.
    Entered(ProcessId, String),
}

/// The log that an earlier recorder left at a path; empty if no part of it says how that recorder began.
pub(super) fn left_at(path: &Path) -> Vec<Item> {
    let items = file::read(path);
    let is_whole = items.iter().any(|item| matches!(item, Item::Begun(_)));
    if is_whole { items } else { Vec::new() }
}

/// The log of this recorder. Copies share it. Without a file nothing is kept.
#[derive(Clone, Default)]
pub(super) struct Handover(Option<Rc<RefCell<Log>>>);

struct Log {
    file: LogFile,
    /// Its size after it was last written anew, in bytes.
    rewritten: u64,
    /// Jobs whose entries may not be written yet.
    judged: VecDeque<(Instant, Job)>,
    /// The latest record that an earlier recorder kept, until the first one comes from the ring.
    latest: Option<Vec<u8>>,
}

impl Handover {
    /// Opens the log at a path, to append to these parts of it. Without parts, the log begins anew.
    pub(super) fn open(path: &Path, items: &[Item]) -> std::io::Result<Self> {
        let latest = items.iter().rev().find_map(|item| match item {
            Item::Record(record) => Some(record.clone()),
            _ => None,
        });
        let file = LogFile::open(path, !items.is_empty())?;
        let rewritten = file.bytes();
        let log = Log { file, rewritten, judged: VecDeque::new(), latest };
        Ok(Self(Some(Rc::new(RefCell::new(log)))))
    }

    /// Whether anything is kept.
    pub(super) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Keeps a part, which is made only if there is a file.
    pub(super) fn keep(&self, item: impl FnOnce() -> Item) {
        if let Some(log) = &self.0 {
            log.borrow_mut().file.append(&item());
        }
    }

    /// Keeps a record that is about to leave the ring. Returns false for one that an earlier recorder has kept: it was
    /// killed before the record left the ring.
    pub(super) fn record(&self, record: &[u8]) -> bool {
        let Some(log) = &self.0 else { return true };
        let mut log = log.borrow_mut();
        let is_new = log.latest.take().is_none_or(|latest| latest != record);
        if is_new {
            log.file.append_record(record);
        }
        is_new
    }

    /// Keeps an event that is in no record, or in one that is not kept.
    pub(super) fn observed(&self, event: &Event) {
        self.keep(|| Item::Observed(event.clone()));
    }

    /// Jobs have been given to the history.
    pub(super) fn judged(&self, jobs: &[Job]) {
        let Some(log) = &self.0 else { return };
        let now = Instant::now();
        log.borrow_mut().judged.extend(jobs.iter().map(|job| (now, job.clone())));
    }

    /// All losses that the history knows of.
    pub(super) fn losses(&self, at_ns: u64, totals: &BTreeMap<LossReason, LossCell>) {
        self.keep(|| Item::Losses(at_ns, losses_of(totals)));
    }

    /// Keeps that jobs are in the history, and writes the log anew if it has doubled. `places` has the parts about cgroups.
    pub(super) fn turn(&self, session: &Session, places: impl FnOnce() -> Vec<Item>) {
        let Some(log) = &self.0 else { return };
        let mut log = log.borrow_mut();
        let now = Instant::now();
        while log.judged.front().is_some_and(|(at, _)| now.duration_since(*at) >= IN_HISTORY)
            && let Some((_, job)) = log.judged.pop_front()
        {
            log.file.append(&Item::Judged(job));
        }
        if log.file.bytes() > REWRITE_FROM.max(log.rewritten.saturating_mul(2)) {
            let mut items = living(log.file.items(), session);
            items.extend(places());
            log.file.rewrite(&items);
            log.rewritten = log.file.bytes();
            // Their processes are not in the log any more.
            log.judged.clear();
        }
    }
}

/// The parts of a log that concern what the session knows, with what it knows of rows instead of how it came to.
fn living(items: Vec<Item>, session: &Session) -> Vec<Item> {
    let is_losses = |item: &&Item| matches!(item, Item::Losses(..));
    let old_losses = items.iter().filter(is_losses).count().saturating_sub(MOST_LOSSES);
    let mut losses = 0;
    let mut living: Vec<Item> = items
        .into_iter()
        .filter(|item| match item {
            Item::Begun(_) => true,
            Item::Record(record) => event::decode(record)
                .is_ok_and(|event| !is_survey(&event) && concerns(&event.kind, session)),
            Item::Observed(event) => concerns(&event.kind, session),
            Item::Late(process) => session.processes.contains_key(process),
            Item::Losses(..) => {
                losses += 1;
                losses > old_losses
            }
            _ => false,
        })
        .collect();
    let rows = session.ledger.iter().map(|(key, row)| Item::Row(Row { key: *key, row: *row }));
    living.extend(rows);
    living.extend(session.accounts().map(Item::Account));
    living.extend(losses_of(&session.losses).into_iter().map(Item::Loss));
    living
}

fn losses_of(losses: &BTreeMap<LossReason, LossCell>) -> Vec<Loss> {
    losses.iter().map(|(reason, cell)| Loss { reason: reason.clone(), cell: *cell }).collect()
}

/// Whether a survey found it. Those that said something new are kept as observations.
pub(super) fn is_survey(event: &Event) -> bool {
    matches!(&event.kind, EventKind::Holder { sighting: event::Sighting::Open, .. })
}

/// Whether an event is about a process or an object that a session knows.
fn concerns(kind: &EventKind, session: &Session) -> bool {
    let knows = |process: &ProcessId| session.processes.contains_key(process);
    let has = |object| session.objects.contains_key(object);
    match kind {
        EventKind::Fork { child, .. } => knows(child),
        EventKind::Image(image) => knows(&image.process),
        EventKind::Exit(exit) => knows(&exit.process),
        EventKind::Object { object, .. } => has(&object.id),
        EventKind::FirstIo { first, .. } => {
            knows(&first.key.process) && (first.key.object.is_none() || has(&first.key.object))
        }
        EventKind::Fact { fact, .. } => knows(&fact.process),
        EventKind::Holder { holder, .. } => has(&holder.state.object),
        EventKind::Environment { process, .. } | EventKind::Arguments { process, .. } => {
            knows(process)
        }
        EventKind::File { object, .. } | EventKind::Log { object, .. } => has(object),
        EventKind::NotSeen(unseen) => knows(&unseen.process),
        EventKind::BlockedThread(_)
        | EventKind::Claim(_)
        | EventKind::LogRead(_)
        | EventKind::Sandbox(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        ledger::{LedgerKey, LedgerRow},
        loss::Reason,
    };
    use tracer_core::event::Image;

    use super::*;

    fn started(tgid: u32) -> Event {
        let image = Image { process: ProcessId::new(tgid, 1), executed: true, ..Image::default() };
        Event { time_ns: 5, kind: EventKind::Image(image) }
    }

    fn row(tgid: u32, bytes: u64) -> Row {
        let key = LedgerKey { process: ProcessId::new(tgid, 1), ..LedgerKey::default() };
        Row { key, row: LedgerRow { bytes, ..LedgerRow::default() } }
    }

    #[test]
    fn what_is_judged_leaves_the_log_and_what_lives_stays_with_its_sums() {
        let mut session = Session::default();
        session.apply(&started(7));
        session.add_row(row(7, 30).key, &row(7, 30).row);
        session.set_account(&Account {
            process: ProcessId::new(7, 1),
            written_to_ended: 4,
            started_jobs: true,
        });
        let loss = LossCell { events: 2, bytes: 9 };
        session.add_loss(Reason::RingFull.into(), loss);
        let items = vec![
            Item::Observed(started(7)),
            Item::Observed(started(8)),
            Item::Row(row(7, 10)),
            Item::Row(row(7, 20)),
            Item::Row(row(8, 5)),
            Item::Late(ProcessId::new(8, 1)),
            Item::Losses(3, Vec::new()),
        ];
        let account =
            Account { process: ProcessId::new(7, 1), written_to_ended: 4, started_jobs: true };
        let expected = vec![
            Item::Observed(started(7)),
            Item::Losses(3, Vec::new()),
            Item::Row(row(7, 30)),
            Item::Account(account),
            Item::Loss(Loss { reason: Reason::RingFull.into(), cell: loss }),
        ];
        assert_eq!(living(items, &session), expected);
    }

    #[test]
    fn the_latest_record_of_a_killed_recorder_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.log");
        let records = |items: &[Item]| {
            items.iter().filter(|item| matches!(item, Item::Record(_))).cloned().collect::<Vec<_>>()
        };
        let handover = Handover::open(&path, &[]).unwrap();
        handover.keep(|| Item::Begun(Begun { start: Timestamp::UNIX_EPOCH, start_ns: 1 }));
        handover.record(b"one");
        let left = left_at(&path);
        assert_eq!(records(&left), [Item::Record(b"one".to_vec())]);
        let handover = Handover::open(&path, &left).unwrap();
        // It is still in the ring. Another one like it that follows is another one.
        let are_new = ["one", "one", "two"].map(|record| handover.record(record.as_bytes()));
        assert_eq!(are_new, [false, true, true]);
        let expected = ["one", "one", "two"].map(|it| Item::Record(it.as_bytes().to_vec()));
        assert_eq!(records(&file::read(&path)), expected);
    }
}
