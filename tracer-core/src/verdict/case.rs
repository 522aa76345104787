//! The input of the rules: a session with indexes that are computed once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, READ, WRITE, error},
    loss::Reason,
    object::ObjectId,
};

use super::{Confidence, Subject, copies::CutCopy, inner, rules, subject, writes::Writes};
use crate::{
    event::{BlockedCall, BlockedThread, Claim},
    session::{
        ClaimedProcesses, Close, CutKind, Endpoint, FactKind, Flows, Kind, Process, SIGPIPE,
        Session,
    },
};

/// Exit codes of a reader whose own child had enough: of a shell (`128 + SIGPIPE`), and of `xargs(1)`.
const CHILD_HAD_ENOUGH: [u32; 3] = [128 + SIGPIPE, 123, 125];
/// A reader that read within this time is still reading.
const AT_WORK_NS: u64 = 500_000_000;
/// Closes of one pipe within this time belong together.
const SAME_TIME_NS: u64 = 50_000_000;
/// The input of the rules.
pub struct Case<'a> {
    /// The recorded session.
    pub session: &'a Session,
    /// The flows of all objects.
    pub flows: Flows,
    /// The commands that the user asked about.
    pub subjects: Vec<Subject<'a>>,
    /// Commands inside of them whose output goes to the outer one: a manager under `tracer --`, a pipeline.
    pub inner: Vec<Subject<'a>>,
    /// Claims of managers' logs, with the process that each is about; claims about unknown processes are left out.
    pub claims: Vec<(ProcessId, &'a Claim)>,
    /// The same by process.
    pub(super) claims_about: BTreeMap<ProcessId, Vec<&'a Claim>>,
    /// Threads blocked in a write, by the object that they write to.
    pub(super) blocked_writers: BTreeMap<ObjectId, Vec<&'a BlockedThread>>,
    /// Threads blocked in a read, in a write, or by a lock, by process.
    pub(super) waiting: BTreeMap<ProcessId, Vec<&'a BlockedThread>>,
    /// The process that set `O_NONBLOCK` on an object last, and when (nanoseconds since boot).
    nonblock: BTreeMap<ObjectId, (u64, &'a Process)>,
    /// The process that cut a file last, and when (nanoseconds since boot).
    pub(super) cuts: BTreeMap<ObjectId, (u64, &'a Process)>,
    /// The cuts of each file, in this order.
    pub(super) cuts_of: BTreeMap<ObjectId, Vec<Cut>>,
    /// The processes that may have removed a file: those that run a program which does.
    pub(super) removers: Vec<&'a Process>,
    /// Whether a target runs a sandbox or virtual machine, whose programs make no system calls on this kernel.
    pub(super) has_guests: bool,
    /// Whether readers of the target's output are followed.
    pub(super) follows_readers: bool,
    /// The latest processes that each process started; computed when it is needed.
    pub(super) started: OnceLock<BTreeMap<ProcessId, u64>>,
    /// The processes that moved bytes by `io_uring`; computed when it is needed.
    pub(super) of_rings: OnceLock<BTreeSet<ProcessId>>,
    /// The processes that have an object as their stdin; computed when it is needed.
    pub(super) inputs: OnceLock<BTreeMap<ObjectId, Vec<ProcessId>>>,
    /// What each process wrote, by time; computed when it is needed.
    pub(super) writes: OnceLock<Writes>,
    /// For each object the subjects that have it as a stream, by their places in [`Self::subjects`] and then
    /// [`Self::inner`]; computed when it is needed.
    pub(super) subjects_of: OnceLock<BTreeMap<ObjectId, Vec<usize>>>,
    /// The copies that end too early because `SIGPIPE` ended their writers; computed when it is needed.
    pub(super) cut_copies: OnceLock<BTreeMap<ProcessId, CutCopy>>,
}

impl<'a> Case<'a> {
    /// Prepares a session for the rules.
    #[must_use]
    pub fn new(session: &'a Session) -> Self {
        let subjects = subject::subjects(session);
        let inner = inner::inner(session, &subjects);
        let mut targets = session.processes.values().filter(|process| process.is_target);
        let has_guests =
            targets.any(|process| rules::out_of_sight::unseen(session, process).is_some());
        let claimed = ClaimedProcesses::of(session);
        let claims: Vec<(ProcessId, &Claim)> = session
            .claims
            .iter()
            .filter_map(|claim| Some((claimed.find(claim)?.id, claim)))
            .collect();
        let mut claims_about: BTreeMap<ProcessId, Vec<&Claim>> = BTreeMap::new();
        for (process, claim) in &claims {
            claims_about.entry(*process).or_default().push(claim);
        }
        let mut case = Self {
            session,
            flows: Flows::of(session),
            subjects,
            inner,
            claims,
            claims_about,
            blocked_writers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            nonblock: latest(session, FactKind::Nonblock),
            cuts: latest(session, FactKind::FileCut),
            cuts_of: cuts_of(session),
            removers: rules::file_lost::removers(session),
            has_guests,
            follows_readers: session.objects.values().any(|known| known.hop > 0),
            started: OnceLock::new(),
            of_rings: OnceLock::new(),
            inputs: OnceLock::new(),
            writes: OnceLock::new(),
            subjects_of: OnceLock::new(),
            cut_copies: OnceLock::new(),
        };
        case.index_blocked_threads();
        case
    }

    fn index_blocked_threads(&mut self) {
        for thread in &self.session.blocked {
            if let (BlockedCall::Write, Some(object)) = (thread.call, thread.object) {
                self.blocked_writers.entry(object).or_default().push(thread);
            }
            if matches!(thread.call, BlockedCall::Read | BlockedCall::Write | BlockedCall::Lock) {
                self.waiting.entry(thread.process).or_default().push(thread);
            }
        }
    }

    /// Whether something was not recorded that may concern every object.
    pub(super) fn has_losses(&self) -> bool {
        self.session.losses.keys().any(|reason| !reason.is_of_object())
    }

    /// Why the counts of a subject's streams may be wrong.
    pub(super) fn doubts(&self, subject: &Subject<'_>) -> impl Iterator<Item = Reason> {
        let flows = subject.streams().map(|stream| self.flows.get(&stream.object));
        flows.into_iter().flat_map(|flow| flow.doubts.iter().copied())
    }

    /// Whether everything about a subject was counted.
    pub(super) fn confidence(&self, subject: &Subject<'_>) -> Confidence {
        self.confidence_of(subject.process, &subject.streams().map(|stream| stream.object))
    }

    /// Whether everything that a process wrote to objects was counted.
    pub(super) fn confidence_of(&self, process: &Process, objects: &[ObjectId]) -> Confidence {
        let is_counted = |object: &ObjectId| {
            let flow = self.flows.get(object);
            flow.doubts.is_empty() && flow.balanced != Some(false)
        };
        let is_complete = !self.has_losses()
            && !process.attached_late
            && !self.has_guests
            && objects.iter().all(is_counted);
        if is_complete { Confidence::Certain } else { Confidence::Unsure }
    }

    /// Whether a finding is certain that rests on what tracer looked at, and not on counts since the start of the
    /// command: it does not matter how late tracer attached.
    pub(super) fn confidence_of_look(&self) -> Confidence {
        if self.has_losses() || self.has_guests { Confidence::Unsure } else { Confidence::Certain }
    }

    /// The process that set `O_NONBLOCK` on an object or on its other half last.
    pub(super) fn set_nonblock(&self, object: &ObjectId) -> Option<&'a Process> {
        let peer = self.session.peer(object);
        let facts = [object, &peer].into_iter().filter_map(|object| self.nonblock.get(object));
        facts.max_by_key(|(time_ns, _)| *time_ns).map(|(_, process)| *process)
    }

    /// Whether a reader with this latest read, if any, is still reading.
    pub(super) fn is_at_work(&self, last_ns: Option<u64>) -> bool {
        last_ns.is_some_and(|last| self.session.end_ns.saturating_sub(last) < AT_WORK_NS)
    }

    /// Whether a command's output goes to the next command of a pipeline.
    pub(super) fn is_piped(&self, subject: &Subject<'_>) -> bool {
        let mut readers = subject.streams().into_iter().flat_map(|stream| {
            let peer = self.session.peer(&stream.object);
            let readers = &self.flows.get(&stream.object).readers;
            readers.iter().map(move |endpoint| (endpoint.process, peer))
        });
        readers.any(|(reader, object)| {
            let known = self.session.processes.get(&reader).filter(|known| known.is_target);
            known.is_some_and(|known| known.stdio_object(0) == Some(object))
        })
    }

    /// The subjects that have an object as a stream: what becomes of it is told there.
    pub(super) fn subjects_of(&self, object: &ObjectId) -> impl Iterator<Item = &Subject<'a>> {
        let index = self.subjects_of.get_or_init(|| {
            let mut index: BTreeMap<ObjectId, Vec<usize>> = BTreeMap::new();
            for (place, subject) in self.subjects.iter().chain(&self.inner).enumerate() {
                for stream in subject.distinct_streams() {
                    index.entry(stream.object).or_default().push(place);
                }
            }
            index
        });
        let places = index.get(object).into_iter().flatten();
        places.filter_map(|place| match self.subjects.get(*place) {
            Some(subject) => Some(subject),
            None => self.inner.get(place - self.subjects.len()),
        })
    }

    /// The rows that wrote to an object.
    pub(super) fn writes_to(
        &self,
        object: &ObjectId,
    ) -> impl Iterator<Item = (&LedgerKey, &LedgerRow)> {
        let writers = self.flows.get(object).writers.iter();
        let rows = writers.flat_map(|writer| self.session.rows_on(writer.process, *object, WRITE));
        rows.filter(|(_, row)| row.bytes > 0)
    }

    /// When a process last read bytes from an object, nanoseconds since boot.
    pub(super) fn last_read(&self, process: ProcessId, object: &ObjectId) -> Option<u64> {
        let rows = self.session.rows_on(process, *object, READ);
        rows.filter(|(_, row)| row.bytes > 0).map(|(_, row)| row.last_ns).max()
    }

    /// Whether an object is a socket or terminal whose other end is not known, so that only closes of this end were seen.
    pub(super) fn is_one_ended(&self, object: &ObjectId) -> bool {
        let kind = self.session.object_kind(object);
        matches!(kind, Kind::Socket | Kind::Pty) && !self.session.is_joined(object)
    }

    /// The close of the last read end. Of two closes at almost the same time, the one of the reader
    /// ([`Self::closed_by_reader`]).
    pub(super) fn closer(&self, object: &ObjectId) -> Option<&'a Close> {
        let last = self.session.last_closer(object).filter(|_| !self.is_one_ended(object))?;
        Some(self.closed_by_reader(object, last))
    }

    /// The close because of which there was no reader any more at a time: the last one before it, whatever was seen of
    /// others later. A close is recorded a little later than it takes effect.
    pub(super) fn closer_at(&self, object: &ObjectId, time_ns: u64) -> Option<&'a Close> {
        if self.is_one_ended(object) {
            return None;
        }
        let until_ns = time_ns.saturating_add(SAME_TIME_NS);
        let mut closes = self.session.closes(object).iter().rev();
        let last = closes.find(|close| close.time_ns <= until_ns)?;
        Some(self.closed_by_reader(object, last))
    }

    /// Of closes at almost the same time as this one, the one of a process that had read, else of one that the process
    /// started with it as stdin: a shell holds the pipe of `yes | head` a moment longer than `head` does.
    fn closed_by_reader(&self, object: &ObjectId, last: &'a Close) -> &'a Close {
        let near = |close: &&Close| last.time_ns.abs_diff(close.time_ns) < SAME_TIME_NS;
        let closes = || self.session.closes(object).iter().rev().filter(near);
        let has_read = |close: &&Close| self.last_read(close.process, object).is_some();
        let is_started = |close: &&Close| {
            let known = self.session.processes.get(&close.process);
            // A process that ends with its read end open was to read itself.
            close.fd == 0
                && !last.by_exit
                && close.process != last.process
                && known.is_some_and(|known| self.is_above(last.process, known))
        };
        closes().find(has_read).or_else(|| closes().find(is_started)).unwrap_or(last)
    }

    /// Whether a process is the next command of the pipeline and left bytes unread by design: it read some of them as its
    /// input, and it succeeded, or died of SIGPIPE because the command after it had enough (`yes | cat | head`).
    pub(super) fn is_beside(&self, subject: &Subject<'_>, process: ProcessId) -> bool {
        let objects = subject.streams().map(|stream| stream.object);
        self.is_beside_writer(subject.process, &objects, process)
    }

    /// The same of a process that wrote to these objects.
    pub(super) fn is_beside_writer(
        &self,
        writer: &Process,
        objects: &[ObjectId],
        process: ProcessId,
    ) -> bool {
        let Some(known) = self.session.processes.get(&process) else { return false };
        let peers = objects.iter().map(|object| self.session.peer(object));
        let peers = peers.filter(|peer| !peer.is_none());
        let mut reads = peers.flat_map(|peer| self.session.rows_on(process, peer, READ));
        let Some((key, _)) = reads.find(|(_, row)| row.bytes > 0) else { return false };
        let is_input = known.has_as_input(key);
        let had_enough = match known.exit_code() {
            // A file to compare with (`cmp <(a) <(b)`): 1 means that they differ.
            Some(code) if !is_input => code <= 1 && !self.is_above(known.id, writer),
            Some(code) => code == 0 || CHILD_HAD_ENOUGH.contains(&code),
            // It had enough only if it has no other copy to write.
            None if known.signal() == Some(SIGPIPE) => !self.cut_copies().contains_key(&known.id),
            None => known.signal().is_none() && is_input,
        };
        (known.is_target || is_input) && had_enough && !self.was_ignored(&key.object)
    }

    /// Whether a writer of a FIFO did not care that its reader had left: it went on, and succeeded. A FIFO is opened by name
    /// and is no pipeline, which ends with its last command.
    fn was_ignored(&self, fifo: &ObjectId) -> bool {
        let is_refused = |writer: &Endpoint| {
            let mut rows = self.session.rows_on(writer.process, *fifo, WRITE);
            rows.any(|(_, row)| row.errors[error::EPIPE as usize] > 0)
        };
        let goes_on = |writer: &Endpoint| {
            let known = self.session.processes.get(&writer.process);
            known.is_some_and(|known| !known.has_failed())
        };
        let mut writers = self.flows.get(fifo).writers.iter();
        self.session.object_kind(fifo) == Kind::Fifo
            && writers.any(|writer| is_refused(writer) && goes_on(writer))
    }

    /// Whether an object is stdout or stderr of a process that wrote to it: not only an fd of a shell's own, which a builtin
    /// uses as its stdout for a moment (`echo ready >&3`).
    pub(super) fn is_stream_of_writer(&self, object: &ObjectId) -> bool {
        let is_stream = |writer: &Endpoint| {
            let Some(known) = self.session.processes.get(&writer.process) else { return true };
            let past = known.past_images.iter().filter_map(|image| image.stdio.as_ref());
            let mut stdio = known.stdio.iter().chain(&known.stdio_at_end).chain(past);
            let is_seen = known.stdio_at_end.is_some_and(|stdio| !stdio[1].object.is_none());
            !is_seen || stdio.any(|stdio| stdio[1..].iter().any(|state| state.object == *object))
        };
        let writers = &self.flows.get(object).writers;
        writers.is_empty() || writers.iter().any(is_stream)
    }

    /// Whether one of these processes started another one, or started the one that did, and so on.
    pub(super) fn is_started_by_any(&self, process: ProcessId, by: &BTreeSet<ProcessId>) -> bool {
        let known = self.session.processes.get(&process).into_iter();
        let mut line = known.flat_map(|known| self.session.line_of(known)).take(GENERATIONS);
        line.any(|known| by.contains(&known.parent))
    }

    /// Whether `above` started a process, or started the one that did, and so on.
    pub(super) fn is_above(&self, above: ProcessId, process: &Process) -> bool {
        let mut line = self.session.line_of(process).take(GENERATIONS);
        line.any(|known| known.parent == above || known.id == above)
    }
}

/// Number of ancestors that are looked at.
pub(super) const GENERATIONS: usize = 32;

/// For each object, the process that has a fact of this kind about it, the latest one, and when.
fn latest(session: &Session, kind: FactKind) -> BTreeMap<ObjectId, (u64, &Process)> {
    let mut latest: BTreeMap<ObjectId, (u64, &Process)> = BTreeMap::new();
    for process in session.processes.values() {
        for fact in process.facts.iter().filter(|fact| fact.kind == kind) {
            let Some(object) = fact.object else { continue };
            let known = latest.entry(object).or_insert((fact.time_ns, process));
            if fact.time_ns >= known.0 {
                *known = (fact.time_ns, process);
            }
        }
    }
    latest
}

/// A file was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    /// Nanoseconds since boot. If later cuts of the file are not told, the end of time.
    pub(super) time_ns: u64,
    /// What it took from the file.
    pub(super) kind: CutKind,
}

fn cuts_of(session: &Session) -> BTreeMap<ObjectId, Vec<Cut>> {
    let mut cuts: BTreeMap<ObjectId, Vec<Cut>> = BTreeMap::new();
    let facts = session.processes.values().flat_map(|process| &process.facts);
    for fact in facts.filter(|fact| fact.kind == FactKind::FileCut) {
        let time_ns = if fact.cut == CutKind::Often { u64::MAX } else { fact.time_ns };
        let cut = Cut { time_ns, kind: fact.cut };
        cuts.entry(fact.object.unwrap_or_default()).or_default().push(cut);
    }
    cuts.values_mut().for_each(|cuts| cuts.sort_unstable());
    cuts
}
