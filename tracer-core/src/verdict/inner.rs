//! Commands inside the subjects: those whose output goes to a pipe, socket, terminal or file of its own, so that the
//! outer command's streams say nothing about it.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE, error},
    object::ObjectId,
};

use super::{
    Scope, Stream, Subject,
    rows::{add, without_probes},
    subject::{children, subject, was_closed_within},
};
use crate::{
    event::BlockedCall,
    session::{GENERATIONS, Kind, Process, Session},
};

/// All commands inside of `outer`: first those that were started with a stream of their own, then what other processes
/// wrote to objects that are no command's stream.
#[must_use]
pub(super) fn inner<'a>(session: &'a Session, outer: &[Subject<'a>]) -> Vec<Subject<'a>> {
    let mut found = started_inside(session, outer);
    let mut told: BTreeSet<ObjectId> = BTreeSet::new();
    for subject in outer.iter().chain(&found) {
        told.extend(subject.streams().iter().map(|stream| stream.object));
    }
    for subject in outer {
        found.extend(written_inside(session, subject, &told));
    }
    for subject in outer.iter().chain(&found) {
        told.extend(subject.streams().iter().map(|stream| stream.object));
    }
    found.extend(blocked_inside(session, &told));
    found
}

/// Targets that are blocked in a write since before the trace, so that no row shows it.
fn blocked_inside<'a>(session: &'a Session, told: &BTreeSet<ObjectId>) -> Vec<Subject<'a>> {
    let blocked = session.blocked.iter().filter(|thread| thread.call == BlockedCall::Write);
    let subjects = blocked.filter_map(|thread| {
        let object = thread.object.filter(|object| !told.contains(object))?;
        let process = session.processes.get(&thread.process).filter(|known| known.is_target)?;
        let (members, row) = (BTreeSet::from([process.id]), LedgerRow::ZERO);
        Some(on_one_object(session, process, members, (object, thread.fd, row)))
    });
    subjects.collect()
}

/// A subject of which only one object counts.
fn on_one_object<'a>(
    session: &Session,
    process: &'a Process,
    members: BTreeSet<ProcessId>,
    (object, fd, row): (ObjectId, i32, LedgerRow),
) -> Subject<'a> {
    let stream = |fd| Stream { fd, ..Stream::default() };
    let fd = stream_fd(session, process, &object).unwrap_or(fd);
    let used = Stream { object, kind: session.object_kind(&object), row, fd };
    let streams = if fd == 2 { [stream(1), used] } else { [used, stream(2)] };
    let (scope, wrote_ns) = (Scope::Redirected, row.last_ns);
    Subject { scope, wrote_ns, ..Subject::new(process, members, streams) }
}

/// Commands whose stdout or stderr is a pipe, socket or terminal that their parent does not have.
fn started_inside<'a>(session: &'a Session, outer: &[Subject<'a>]) -> Vec<Subject<'a>> {
    let children = children(session);
    let mut found = Vec::new();
    for subject in outer {
        let members = subject.members.iter().filter(|member| **member != subject.process.id);
        for process in members.filter_map(|member| session.processes.get(member)) {
            let own = own_streams(session, process);
            if process.executed && own.contains(&true) {
                let mut inner = self::subject(session, process, &children, &BTreeSet::new());
                inner.forget_streams(own);
                inner.process = only_writer(session, &inner).unwrap_or(process);
                inner.scope = Scope::Inner;
                // A silent one says nothing about what others write to its streams.
                if inner.attempts() > 0 {
                    found.push(inner);
                }
            }
        }
    }
    found
}

/// The only member that wrote, if it is a command: what a container runtime or a shell was started for.
fn only_writer<'a>(session: &'a Session, subject: &Subject<'a>) -> Option<&'a Process> {
    let streams = subject.streams().map(|stream| stream.object);
    let only = subject.only_writer(session, |key| streams.contains(&key.object));
    only.filter(|process| process.executed && process.summed_up.is_none())
}

/// For stdout and stderr: whether it leads to another object than those of the parent.
fn own_streams(session: &Session, process: &Process) -> [bool; 2] {
    let parent = giver(session, process).and_then(|parent| parent.stdio);
    [1, 2].map(|fd| {
        let Some(object) = process.stdio_object(fd) else { return false };
        let inherited =
            parent.is_some_and(|stdio| stdio.iter().skip(1).any(|state| state.object == object));
        !inherited && session.object_kind(&object).passes_on()
    })
}

/// The process that a process has its standard streams from: its parent. The first process in a sandbox has those that the
/// sandbox was started with.
fn giver<'a>(session: &'a Session, process: &Process) -> Option<&'a Process> {
    let parent = session.processes.get(&process.parent)?;
    let is_kernel = session.looks_into(parent.id);
    if is_kernel { session.processes.get(&parent.parent) } else { Some(parent) }
}

/// Whether an object is stdout or stderr: of the process, or of the closest ancestor for which it is one and not the
/// other. `echo x >&2` makes fd 1 the object of stderr.
pub(super) fn stream_fd(session: &Session, process: &Process, object: &ObjectId) -> Option<i32> {
    session.line_of(process).take(GENERATIONS).find_map(|process| {
        let is = |fd| process.stdio_object(fd) == Some(*object);
        match (is(1), is(2)) {
            (true, false) => Some(1),
            (false, true) => Some(2),
            _ => None,
        }
    })
}

/// What the members of a subject wrote to one object.
#[derive(Default)]
struct Group {
    writers: BTreeMap<ProcessId, LedgerRow>,
    /// The row with the most bytes: these bytes, its fd, its process, and its first call.
    main: Option<(u64, i32, ProcessId, u64)>,
}

/// What members wrote to objects that are not in `told`: a forked shell into a pipe, a redirection to a file.
fn written_inside<'a>(
    session: &'a Session,
    subject: &Subject<'a>,
    told: &BTreeSet<ObjectId>,
) -> Vec<Subject<'a>> {
    let mut groups: BTreeMap<ObjectId, Group> = BTreeMap::new();
    for member in &subject.members {
        let succeeded = session.processes.get(member).and_then(Process::exit_code) == Some(0);
        for (key, row) in session.rows_of(*member, WRITE) {
            let is_inside = match key.object.is_none() {
                true => was_closed_within(subject, *member, key.fd),
                false => !told.contains(&key.object),
            };
            if is_inside && is_output(session, key, row) {
                let group = groups.entry(key.object).or_default();
                let own = group.writers.entry(*member).or_insert(LedgerRow::ZERO);
                add(own, &without_probes(row, succeeded));
                group.main = group.main.max(Some((row.bytes, key.fd, *member, row.first_ns)));
            }
        }
    }
    let subjects = groups.into_iter().filter_map(|(object, group)| {
        let (_, fd, writer, wrote_ns) = group.main?;
        let process = session.processes.get(&writer).filter(|known| known.summed_up.is_none())?;
        let row = with_errors_of_all(group.writers.get(&writer)?, &group.writers);
        let members = group.writers.into_keys().collect();
        let one = on_one_object(session, process, members, (object, fd, row));
        Some(Subject { wrote_ns, ..one })
    });
    subjects.collect()
}

/// The row of the main writer, with the refusals of all.
fn with_errors_of_all(main: &LedgerRow, writers: &BTreeMap<ProcessId, LedgerRow>) -> LedgerRow {
    let mut all = LedgerRow::ZERO;
    writers.values().for_each(|row| add(&mut all, row));
    LedgerRow {
        errors: all.errors,
        refused: all.refused,
        failed: all.failed,
        last_refused: all.last_refused,
        ..*main
    }
}

/// Errors with which a file system refuses output.
const REFUSALS: [u32; 4] = [error::ENOSPC, error::EFBIG, error::EDQUOT, error::EIO];

/// Whether a row is about output, and not about the input of a child: through fd 1 or 2, to something that keeps it.
fn is_output(session: &Session, key: &LedgerKey, row: &LedgerRow) -> bool {
    // A relay's other files count if the file system refused some of it: `tee log` on a full disk.
    let was_refused = |class: &u32| row.errors[*class as usize] > 0;
    let is_refused = REFUSALS.iter().any(was_refused);
    let keeps = match session.object_kind(&key.object) {
        Kind::Pipe | Kind::Fifo | Kind::Pty | Kind::File => true,
        // That of a server's client is through another fd.
        Kind::Socket => session.is_joined(&key.object) || was_refused(&error::EPIPE),
        Kind::Device => is_refused,
        Kind::Closed => was_refused(&error::EBADF),
        Kind::Null | Kind::HandedIn | Kind::Unknown => false,
    };
    keeps && (key.fd == 1 || key.fd == 2 || is_refused) && !session.enters_cgroup(key)
}
