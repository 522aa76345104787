//! Commands that hang: a thread is blocked, and nothing is read that it waits for. Such a command does not end, so it
//! gets an entry while it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tracer_common::{id::ProcessId, ledger::READ};
use tracer_core::{
    event::{BlockedCall, BlockedThread},
    session::{Job, Session},
};

use crate::app::collect::Collector;

/// How often threads are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How many processes are looked at each time, in turn.
const AT_ONCE: usize = 64;
/// For how long a thread must be blocked in the same call.
const HANGS_NS: u64 = 15_000_000_000;
/// How often it is looked whether a thread that hangs goes on.
const AGAIN_NS: u64 = 30_000_000_000;

/// A thread that is blocked in one call at each look.
#[derive(Clone, Copy, Debug)]
struct Since {
    /// Since when, nanoseconds since boot.
    since_ns: u64,
    /// The latest look that found the thread blocked. Processes of a large tree are looked at in turn.
    seen_ns: u64,
    /// Bytes that had been read from the object.
    read: u64,
    /// Whether its job has an entry about it.
    is_told: bool,
    /// When it was last looked whether something is read, nanoseconds since boot.
    looked_ns: u64,
}

impl Since {
    const fn is_long(&self) -> bool {
        self.since_ns.saturating_add(HANGS_NS) <= self.seen_ns
    }

    /// Whether it is time to look whether something is read: a thread that hung may go on, and be blocked again.
    const fn is_due(&self) -> bool {
        self.is_long() && (!self.is_told || self.looked_ns.saturating_add(AGAIN_NS) <= self.seen_ns)
    }
}

/// The same thread in the same call on the same fd.
type Call = (ProcessId, u32, BlockedCall, i32);

/// What the latest looks at the threads of all processes have shown.
#[derive(Debug)]
pub(super) struct Hung {
    next_look: Instant,
    asked: Vec<ProcessId>,
    blocked: BTreeMap<ProcessId, Vec<BlockedThread>>,
    since: BTreeMap<Call, Since>,
}

impl Hung {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next_look: now, asked: Vec::new(), blocked: BTreeMap::new(), since: BTreeMap::new() }
    }

    /// Takes the answers about the latest processes, and asks about the next ones, if it is time for that.
    pub(super) fn look(&mut self, collector: &mut Collector, now: Instant, now_ns: u64) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        let threads = collector.blocked_threads();
        self.take(&threads, now_ns);
        let last = self.asked.last().copied();
        self.asked = collector.ask_for_threads(last, AT_ONCE);
        let processes = &collector.session.processes;
        self.keep(|process| processes.get(process).is_some_and(|known| known.end_ns.is_none()));
    }

    /// Forgets processes that do not run any more. The session may know them for longer.
    fn keep(&mut self, runs: impl Fn(&ProcessId) -> bool) {
        self.blocked.retain(|process, _| runs(process));
        self.since.retain(|(process, ..), _| runs(process));
    }

    /// Takes what the processes that were asked about do now.
    fn take(&mut self, threads: &[BlockedThread], now_ns: u64) {
        for process in &self.asked {
            self.blocked.remove(process);
        }
        for thread in threads {
            self.blocked.entry(thread.process).or_default().push(thread.clone());
            if let Some(since) = call(thread).and_then(|call| self.since.get_mut(&call)) {
                since.seen_ns = now_ns;
            }
        }
        let calls: BTreeSet<Call> = self.blocked.values().flatten().filter_map(call).collect();
        self.since.retain(|call, _| calls.contains(call));
        for call in calls {
            let new = Since {
                since_ns: now_ns,
                seen_ns: now_ns,
                read: u64::MAX,
                is_told: false,
                looked_ns: now_ns,
            };
            self.since.entry(call).or_insert(new);
        }
    }

    /// The threads that wait until what they write is read, by process, and for how long. Those that were found blocked only
    /// once are left out.
    pub(super) fn writers(&self) -> impl Iterator<Item = (ProcessId, Duration)> {
        let writers = self.since.iter().filter(|((_, _, call, _), since)| {
            *call == BlockedCall::Write && since.since_ns < since.seen_ns
        });
        writers.map(|((process, ..), since)| {
            (*process, Duration::from_nanos(since.seen_ns - since.since_ns))
        })
    }

    /// Whether a member of a job may hang, and it is time to look closer.
    pub(super) fn may_hang(&self, job: &Job) -> bool {
        let members = job.members.iter().filter_map(|member| self.blocked.get(member)).flatten();
        members.filter_map(call).any(|call| {
            let since = self.since.get(&call);
            since.is_some_and(Since::is_due)
        })
    }

    /// Whether a member of a job hangs: nothing was read from the object of the call between two such questions. To be
    /// asked of its part.
    pub(super) fn hangs(&mut self, job: &Job, part: &Session, now_ns: u64) -> bool {
        let mut hangs = false;
        let members = job.members.iter().filter_map(|member| self.blocked.get(member)).flatten();
        for thread in members {
            let Some(since) = call(thread).and_then(|call| self.since.get_mut(&call)) else {
                continue;
            };
            let read = thread.object.map_or(0, |object| {
                let peer = part.peer(&object);
                let rows = part.ledger.iter().filter(|(key, _)| key.object == peer);
                rows.filter(|(key, _)| key.direction == READ).map(|(_, row)| row.bytes).sum()
            });
            since.looked_ns = now_ns;
            if since.read != read {
                (since.read, since.since_ns) = (read, now_ns);
            } else if since.is_long() {
                hangs |= !since.is_told;
                since.is_told = true;
            }
        }
        hangs
    }

    /// The blocked threads of the processes of a part.
    pub(super) fn threads_of(&self, part: &Session) -> Vec<BlockedThread> {
        let processes = part.processes.values().filter_map(|known| self.blocked.get(&known.id));
        processes.flatten().cloned().collect()
    }
}

/// Whether a thread waits until another process reads, opens, or continues it.
pub(super) const fn waits(thread: &BlockedThread) -> bool {
    matches!(thread.call, BlockedCall::Write | BlockedCall::Open | BlockedCall::Stopped)
}

fn call(thread: &BlockedThread) -> Option<Call> {
    waits(thread).then_some((thread.process, thread.tid, thread.call, thread.fd))
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        ledger::{LedgerKey, LedgerRow},
        object::ObjectId,
    };

    use super::*;

    const WRITER: ProcessId = ProcessId::new(7, 1);
    const PIPE: ObjectId = ObjectId { ino: 5, dev: 1, discriminator: 0 };

    fn job() -> Job {
        let members = BTreeSet::from([WRITER]);
        Job { root: WRITER, members, ended_ns: None, is_inner: false, has_inner: false }
    }

    /// The part of a job from whose pipe this many bytes were read.
    fn part(read: u64) -> Session {
        let mut part = Session::default();
        let process = ProcessId::new(8, 1);
        let key = LedgerKey { process, object: PIPE, fd: 0, direction: READ };
        part.add_row(key, &LedgerRow { bytes: read, ..LedgerRow::default() });
        part
    }

    fn thread(call: BlockedCall) -> BlockedThread {
        let (process, object) = (WRITER, Some(PIPE));
        BlockedThread { process, tid: 7, call, fd: 1, object, ..BlockedThread::default() }
    }

    fn look(hung: &mut Hung, call: BlockedCall, now_ns: u64) {
        hung.asked = vec![WRITER];
        hung.take(&[thread(call)], now_ns);
    }

    /// What is known after two looks, between which there was time enough.
    fn looked(call: BlockedCall) -> Hung {
        let mut hung = Hung::new(Instant::now());
        look(&mut hung, call, 0);
        assert!(!hung.may_hang(&job()));
        look(&mut hung, call, HANGS_NS);
        hung
    }

    #[test]
    fn a_writer_whose_pipe_is_not_read_hangs_and_is_told_once() {
        let mut hung = looked(BlockedCall::Write);
        assert!(hung.may_hang(&job()));
        assert!(!hung.hangs(&job(), &part(9), HANGS_NS), "it is not known that nothing is read");
        assert!(!hung.hangs(&job(), &part(9), 3 * HANGS_NS), "it was not looked at again");
        look(&mut hung, BlockedCall::Write, 3 * HANGS_NS);
        assert!(hung.hangs(&job(), &part(9), 3 * HANGS_NS));
        look(&mut hung, BlockedCall::Write, 3 * HANGS_NS + AGAIN_NS / 2);
        assert!(!hung.may_hang(&job()));
        assert_eq!(
            hung.writers().next().unwrap().1,
            Duration::from_nanos(2 * HANGS_NS + AGAIN_NS / 2)
        );
        let later = 3 * HANGS_NS + AGAIN_NS;
        look(&mut hung, BlockedCall::Write, later);
        assert!(hung.may_hang(&job()) && !hung.hangs(&job(), &part(9), later), "it is told once");
        look(&mut hung, BlockedCall::Write, later + AGAIN_NS);
        assert!(!hung.hangs(&job(), &part(10), later + AGAIN_NS));
        look(&mut hung, BlockedCall::Write, later + AGAIN_NS + 1_000_000_000);
        assert_eq!(hung.writers().next().unwrap().1, Duration::from_secs(1), "something was read");
    }

    #[test]
    fn a_slow_reader_is_no_hang() {
        let mut hung = looked(BlockedCall::Write);
        assert!(!hung.hangs(&job(), &part(9), HANGS_NS));
        look(&mut hung, BlockedCall::Write, 3 * HANGS_NS);
        assert!(!hung.hangs(&job(), &part(10), 3 * HANGS_NS));
    }

    #[test]
    fn a_reader_that_waits_and_a_thread_that_went_on_do_not_hang() {
        assert!(!looked(BlockedCall::Read).may_hang(&job()));
        let mut hung = looked(BlockedCall::Write);
        hung.take(&[], 2 * HANGS_NS);
        assert!(!hung.may_hang(&job()));
    }

    #[test]
    fn a_process_that_has_ended_is_no_blocked_writer() {
        let mut hung = looked(BlockedCall::Write);
        assert_eq!(hung.writers().count(), 1);
        hung.keep(|process| *process != WRITER);
        assert!(hung.writers().count() == 0 && !hung.may_hang(&job()));
    }
}
