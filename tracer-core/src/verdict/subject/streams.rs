//! Adds what the members of a subject wrote to the stream that it belongs to.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, READ, WRITE},
    object::ObjectId,
};

use super::{
    super::rows::{add, without_probes},
    Stream, Subject,
};
use crate::session::{Kind, Process, Session, is_remover};

/// Where a row of a member belongs.
enum Place {
    Stdout,
    Stderr,
    /// To `/dev/null`, by a redirection inside of the subject.
    Discarded,
    /// To another object, by a redirection inside of the subject.
    Redirected,
    /// To a pipe inside of the subject, through an fd that the user did not ask about, or no output at all.
    Inside,
}

/// Adds each row of the members to the stream that it belongs to.
pub(super) fn fill(session: &Session, subject: &mut Subject<'_>) {
    let members = subject.members.clone();
    // Computed only if output was redirected.
    let read_within = LazyCell::new(|| read_by(session, &members, 0));
    let (mut to_streams_ns, mut redirected_ns) = (u64::MAX, u64::MAX);
    for member in &members {
        let succeeded = session.processes.get(member).and_then(Process::exit_code) == Some(0);
        for (key, row) in session.rows_of(*member, WRITE) {
            let row = &without_probes(row, succeeded);
            let place = place(session, subject, *member, key);
            match place {
                _ if row.bytes == 0 => {}
                Place::Stdout | Place::Stderr => to_streams_ns = to_streams_ns.min(row.first_ns),
                Place::Discarded | Place::Redirected => {
                    redirected_ns = redirected_ns.min(row.first_ns);
                }
                Place::Inside => {}
            }
            match place {
                Place::Stdout => add(&mut subject.stdout.row, row),
                Place::Stderr => add(&mut subject.stderr.row, row),
                Place::Discarded => {
                    subject.discarded += row.bytes;
                    subject.silenced += if key.fd == 2 { row.bytes } else { 0 };
                }
                Place::Redirected
                    if row.bytes > 0 && leads_out(session, &key.object, &read_within) =>
                {
                    subject.redirected.push((key.object, row.bytes));
                }
                Place::Redirected | Place::Inside => {}
            }
        }
    }
    let first = [to_streams_ns, redirected_ns].into_iter().find(|first_ns| *first_ns < u64::MAX);
    subject.wrote_ns = first.unwrap_or(0);
    if subject.process.has_failed() && !subject.redirected.is_empty() {
        set_apart(session, subject);
    }
}

/// Of a failed command: sets apart the objects that do not have its reason. These are what it wrote before it went on with
/// another program, if no writer failed, and what one of its programs has read or removed: a pid file, a configuration, a
/// script.
fn set_apart(session: &Session, subject: &mut Subject<'_>) {
    let members = || subject.members.iter().filter_map(|member| session.processes.get(member));
    // When an object was last written, and whether a process failed that wrote to it.
    let mut written: BTreeMap<ObjectId, (u64, bool)> = BTreeMap::new();
    for member in members() {
        let is_failed = member.id != subject.process.id && member.has_failed();
        for (key, row) in session.rows_of(member.id, WRITE) {
            let (last_ns, by_failed) = written.entry(key.object).or_default();
            *last_ns = row.last_ns.max(*last_ns);
            *by_failed |= is_failed && row.bytes > 0;
        }
    }
    // `trap 'rm -f …' EXIT` runs after everything.
    let others = members().filter(|member| !is_remover(member));
    let went_on_ns = others.map(|member| member.id.start_ns).max().unwrap_or(0);
    let read = read_by(session, &subject.members, 1);
    let explains = |(object, _): &(ObjectId, u64)| {
        let (last_ns, by_failed) = written.get(object).copied().unwrap_or_default();
        let known = session.objects.get(object);
        let is_gone = known.is_some_and(|known| known.is_removed() || known.is_missing());
        by_failed || went_on_ns <= last_ns && !read.contains(object) && !is_gone
    };
    (subject.redirected, subject.beside) =
        std::mem::take(&mut subject.redirected).into_iter().partition(explains);
}

/// By object, and by fd number if both streams are the same object (`2>&1`), or if the object is a device, which
/// anything can open: a redirection to `/dev/null` inside the subject is not the `/dev/null` that it was started with.
fn place(session: &Session, subject: &Subject<'_>, member: ProcessId, key: &LedgerKey) -> Place {
    let is_standard = key.fd == 1 || key.fd == 2;
    if key.object.is_none() {
        return match key.fd {
            _ if was_closed_within(subject, member, key.fd) => Place::Inside,
            1 => Place::Stdout,
            2 => Place::Stderr,
            _ => Place::Inside,
        };
    }
    if session.enters_cgroup(key) {
        return Place::Inside;
    }
    let kind = session.object_kind(&key.object);
    let by_fd =
        matches!(kind, Kind::Null | Kind::Device) || subject.stdout.object == subject.stderr.object;
    let is = |stream: &Stream| key.object == stream.object;
    match (is(&subject.stdout), is(&subject.stderr)) {
        (true, true) if by_fd && key.fd == 2 => Place::Stderr,
        (true, true) => Place::Stdout,
        (true, false) if !by_fd || key.fd == 1 => Place::Stdout,
        (false, true) if !by_fd || key.fd == 2 => Place::Stderr,
        _ if !is_standard => Place::Inside,
        _ if kind == Kind::Null => Place::Discarded,
        _ => Place::Redirected,
    }
}

/// Whether a closed fd 1 or 2 of a member is no stream of the subject: it was closed inside of it (`echo x >&-`).
pub(in crate::verdict) fn was_closed_within(
    subject: &Subject<'_>,
    member: ProcessId,
    fd: i32,
) -> bool {
    let of_subject = subject.streams().into_iter().find(|stream| stream.fd == fd);
    member != subject.process.id && of_subject.is_some_and(|stream| stream.kind != Kind::Closed)
}

/// The objects that processes read from, with at least so many bytes through one fd.
fn read_by(session: &Session, members: &BTreeSet<ProcessId>, least: u64) -> BTreeSet<ObjectId> {
    let rows = members.iter().flat_map(|member| session.rows_of(*member, READ));
    rows.filter(|(_, row)| row.bytes >= least).map(|(key, _)| key.object).collect()
}

/// Whether output to an object leaves the subject: not to a pipe that was created or is read inside of it.
fn leads_out(
    session: &Session,
    object: &ObjectId,
    read_within: &impl Deref<Target = BTreeSet<ObjectId>>,
) -> bool {
    !session.object_kind(object).passes_on()
        || !session.was_created_here(object) && !read_within.contains(&session.peer(object))
}
