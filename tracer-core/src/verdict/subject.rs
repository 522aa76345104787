//! Subjects: the commands that the user asked about, and what their streams carried.

mod streams;

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE},
    object::ObjectId,
};

use self::streams::fill;
pub(super) use self::streams::was_closed_within;
use crate::session::{FactKind, Kind, Process, Session};

/// A command that the user asked about, with its descendants.
#[derive(Clone)]
pub struct Subject<'a> {
    /// The command's own process.
    pub process: &'a Process,
    /// It and its descendants, without other subjects and theirs.
    pub members: BTreeSet<ProcessId>,
    /// Its stdout.
    pub stdout: Stream,
    /// Its stderr.
    pub stderr: Stream,
    /// Bytes that members wrote through fd 1 and 2 to other objects than stdout and stderr, which they redirected.
    pub redirected: Vec<(ObjectId, u64)>,
    /// What a failed command redirected that does not have its reason: a pid file, a script that it wrote and ran. It is not
    /// in `redirected`.
    pub beside: Vec<(ObjectId, u64)>,
    /// The same for `/dev/null`.
    pub discarded: u64,
    /// The part of it that went through fd 2: error messages.
    pub silenced: u64,
    /// Whether it stands by itself, or inside another subject.
    pub scope: Scope,
    /// When its own process, or what that started, first wrote to its streams, else elsewhere; 0 if nothing was written.
    /// The process had a name then.
    pub wrote_ns: u64,
}

/// Where a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Its output leaves the command that the user asked about.
    Outer,
    /// It is a command inside another subject.
    Inner,
    /// It is a part of another subject, which has redirected its output.
    Redirected,
}

/// One standard stream of a subject.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// 1 or 2; of a file that a relay writes to also another one.
    pub fd: i32,
    /// The object that it pointed to at the start ([`Session::stream_of`]).
    pub object: ObjectId,
    /// The kind of the object.
    pub kind: Kind,
    /// Sum of everything that members wrote to it.
    pub row: LedgerRow,
}

impl Stream {
    /// `stdout`, `stderr`, or the file of a relay.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.fd {
            1 => "stdout",
            2 => "stderr",
            _ => "another file",
        }
    }

    /// Number of failed calls of an error class.
    #[must_use]
    pub fn errors(&self, class: u32) -> u32 {
        self.row.errors.get(class as usize).copied().unwrap_or(0)
    }
}

impl<'a> Subject<'a> {
    /// A subject of which nothing but its streams is known yet.
    pub(super) fn new(
        process: &'a Process,
        members: BTreeSet<ProcessId>,
        [stdout, stderr]: [Stream; 2],
    ) -> Self {
        Self {
            process,
            members,
            stdout,
            stderr,
            redirected: Vec::new(),
            beside: Vec::new(),
            discarded: 0,
            silenced: 0,
            scope: Scope::Outer,
            wrote_ns: 0,
        }
    }

    /// The same, named after the process to which writes to a stream were refused: if it is only one of several, it need
    /// not be the one that wrote most.
    pub(super) fn of_refused(&self, session: &'a Session, stream: &Stream) -> Self {
        let refused_ns = |member: &ProcessId| {
            let mut rows = session.rows_on(*member, stream.object, WRITE);
            let refused = rows.find(|(_, row)| row.errors.iter().any(|errors| *errors > 0));
            refused.map(|(_, row)| row.first_ns)
        };
        let mut refused = self
            .members
            .iter()
            .filter_map(|member| Some((session.processes.get(member)?, refused_ns(member)?)));
        let only = refused.next().filter(|_| refused.next().is_none());
        let (process, wrote_ns) = only.unwrap_or((self.process, stream.row.first_ns));
        Self { process, wrote_ns, ..self.clone() }
    }

    /// All that its members redirected, whether it explains a silence or not.
    pub(super) fn all_redirected(&self) -> impl Iterator<Item = &(ObjectId, u64)> {
        self.redirected.iter().chain(&self.beside)
    }

    /// Clears the streams that are not its own.
    pub(super) fn forget_streams(&mut self, own: [bool; 2]) {
        for (stream, is_own) in [&mut self.stdout, &mut self.stderr].into_iter().zip(own) {
            if !is_own {
                *stream = Stream { fd: stream.fd, ..Stream::default() };
            }
        }
    }

    /// Both streams, stdout first.
    #[must_use]
    pub fn streams(&self) -> [&Stream; 2] {
        [&self.stdout, &self.stderr]
    }

    /// Both streams, or one if they are the same object (`2>&1`).
    #[must_use]
    pub fn distinct_streams(&self) -> Vec<&Stream> {
        if self.stdout.object == self.stderr.object {
            vec![&self.stdout]
        } else {
            vec![&self.stdout, &self.stderr]
        }
    }

    /// Bytes that reached the object of a stream, through both streams if they are the same object.
    #[must_use]
    pub fn bytes_to(&self, stream: &Stream) -> u64 {
        if self.stdout.object == self.stderr.object { self.bytes() } else { stream.row.bytes }
    }

    /// Bytes that reached stdout and stderr.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.stdout.row.bytes + self.stderr.row.bytes
    }

    /// Calls that tried to write, successful or not.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.streams()
            .iter()
            .map(|stream| {
                stream.row.calls
                    + stream.row.errors.iter().map(|count| u64::from(*count)).sum::<u64>()
            })
            .sum()
    }

    /// The only member that wrote to an object for which `counts` is true, or was refused to, if it is one.
    pub(super) fn only_writer(
        &self,
        session: &'a Session,
        counts: impl Fn(&LedgerKey) -> bool,
    ) -> Option<&'a Process> {
        let wrote = |member: &&ProcessId| {
            let mut rows = session.rows_of(**member, WRITE);
            rows.any(|(key, row)| (row.bytes > 0 || row.failed > 0) && counts(key))
        };
        let mut writers = self.members.iter().filter(wrote);
        match (writers.next(), writers.next()) {
            (Some(only), None) => session.processes.get(only),
            _ => None,
        }
    }

    /// Whether it discarded output: more than error messages inside of a command that succeeded, as `2>/dev/null` around
    /// a step that may fail does.
    pub(super) fn discards_output(&self) -> bool {
        self.discarded > self.silenced || self.discarded > 0 && self.process.exit_code() != Some(0)
    }

    /// Whether all output went to stderr, which is another object than stdout.
    #[must_use]
    pub fn wrote_only_to_stderr(&self) -> bool {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        // A failed write to stdout is no choice of stderr.
        let was_refused = stdout.row.errors.iter().any(|count| *count > 0);
        let was_redirected = self.discarded > 0 || !self.redirected.is_empty();
        stdout.object != stderr.object
            && stdout.kind != Kind::Closed
            && stdout.row.bytes == 0
            && stderr.row.bytes > 0
            && !was_refused
            && !was_redirected
    }

    /// Whether the program checked for a terminal on this fd and found none.
    #[must_use]
    pub fn was_refused_a_terminal(&self, fd: i32) -> bool {
        self.process.was_refused_a_terminal(fd)
    }
}

/// The subjects of a session in order of their start.
#[must_use]
pub(super) fn subjects(session: &Session) -> Vec<Subject<'_>> {
    let children = children(session);
    let mut chosen: BTreeSet<ProcessId> = BTreeSet::new();
    for root in roots(session) {
        choose(session, &children, root, &mut chosen);
    }
    let mut subjects: Vec<Subject<'_>> = chosen
        .iter()
        .filter_map(|id| session.processes.get(id))
        .filter(|process| process.summed_up.is_none())
        .map(|process| subject(session, process, &children, &chosen))
        .collect();
    subjects.sort_by_key(|subject| subject.process.id);
    if session.is_inner {
        subjects.iter_mut().for_each(|subject| subject.scope = Scope::Inner);
    }
    subjects
}

pub(super) fn children(session: &Session) -> BTreeMap<ProcessId, Vec<ProcessId>> {
    let mut children: BTreeMap<ProcessId, Vec<ProcessId>> = BTreeMap::new();
    for process in session.processes.values().filter(|process| process.is_target) {
        children.entry(process.parent).or_default().push(process.id);
    }
    children
}

/// Targets whose parent is not a target.
fn roots(session: &Session) -> impl Iterator<Item = &Process> {
    session.processes.values().filter(|process| {
        process.is_target
            && session.processes.get(&process.parent).is_none_or(|parent| !parent.is_target)
    })
}

/// Chooses the subjects below a root. A root that started during the trace is a subject. A root that ran before is a
/// manager: the commands that it started are subjects, and it is one itself if it wrote or started none.
fn choose(
    session: &Session,
    children: &BTreeMap<ProcessId, Vec<ProcessId>>,
    root: &Process,
    chosen: &mut BTreeSet<ProcessId>,
) {
    if !root.attached_late {
        chosen.insert(root.id);
        return;
    }
    let before = chosen.len();
    let mut root_wrote = wrote(session, root.id);
    let mut open = vec![root.id];
    while let Some(id) = open.pop() {
        for child in children.get(&id).into_iter().flatten() {
            let Some(process) = session.processes.get(child) else { continue };
            if process.attached_late {
                if wrote(session, *child) {
                    chosen.insert(*child);
                }
                open.push(*child);
            } else if is_command(process) {
                chosen.insert(*child);
            } else {
                // A worker of the manager itself.
                root_wrote |= wrote(session, *child);
                open.push(*child);
            }
        }
    }
    if chosen.len() == before || root_wrote {
        chosen.insert(root.id);
    }
}

/// Whether a process is a command: it replaced its image, or tried to.
pub(super) fn is_command(process: &Process) -> bool {
    process.executed || process.facts.iter().any(|fact| fact.kind == FactKind::ExecFailed)
}

fn wrote(session: &Session, process: ProcessId) -> bool {
    let mut rows = session.rows_of(process, WRITE).filter(|(key, _)| !session.enters_cgroup(key));
    rows.any(|(key, _)| key.fd == 1 || key.fd == 2)
}

pub(super) fn subject<'a>(
    session: &'a Session,
    process: &'a Process,
    children: &BTreeMap<ProcessId, Vec<ProcessId>>,
    chosen: &BTreeSet<ProcessId>,
) -> Subject<'a> {
    let members = members(process.id, children, chosen);
    let stream = |fd: i32| {
        let object = session.stream_of(process, &members, fd).unwrap_or(ObjectId::NONE);
        Stream { fd, object, kind: session.object_kind(&object), row: LedgerRow::default() }
    };
    let (stdout, stderr) = (stream(1), stream(2));
    let mut subject = Subject::new(process, members, [stdout, stderr]);
    fill(session, &mut subject);
    subject
}

fn members(
    root: ProcessId,
    children: &BTreeMap<ProcessId, Vec<ProcessId>>,
    chosen: &BTreeSet<ProcessId>,
) -> BTreeSet<ProcessId> {
    let mut members = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        for child in children.get(&id).into_iter().flatten() {
            if !chosen.contains(child) && members.insert(*child) {
                open.push(*child);
            }
        }
    }
    members
}
