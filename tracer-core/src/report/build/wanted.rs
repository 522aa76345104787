//! Decides which captured output a report recovers.

use std::collections::BTreeSet;

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, READ, WRITE},
    object::ObjectId,
};

use crate::{
    capture::recovery::Want,
    session::{Flows, Object, Session},
    verdict::{Case, Finding, Rule, Stream, Subject},
};

/// Maximal number of objects whose unread bytes are recovered.
const MAX_TAILS: usize = 64;
/// Maximal number of streams that are recovered completely.
const MAX_STREAMS: usize = 20;
/// Rules about bytes that left the process and were lost, or could not be followed further.
const RULES: [Rule; 5] =
    [Rule::ReadThenLost, Rule::Delivered, Rule::Discarded, Rule::OtherStream, Rule::ReadByOther];

/// What to recover from a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In the order of the report.
    pub wants: Vec<Want>,
    /// Number of further requests that are left out.
    pub more: u64,
}

/// Decides what to recover: the unread bytes of the target's own pipes and sockets, then the streams that findings of
/// [`RULES`] are about.
#[must_use]
pub fn wanted(case: &Case<'_>, findings: &[Finding]) -> Wanted {
    let mut tails = tails(case.session, &case.flows);
    let covered: BTreeSet<ObjectId> = tails.iter().filter_map(whole_object).collect();
    let mut seen = BTreeSet::new();
    let mut streams: Vec<Want> = findings
        .iter()
        .filter(|finding| RULES.contains(&finding.rule))
        .flat_map(|finding| rows(case, finding))
        .filter(|key| seen.insert(*key) && !covered.contains(&key.object))
        .map(|LedgerKey { process, fd, object, .. }| Want::Stream { process, fd, object })
        .collect();
    let more = tails.len().saturating_sub(MAX_TAILS) + streams.len().saturating_sub(MAX_STREAMS);
    tails.truncate(MAX_TAILS);
    streams.truncate(MAX_STREAMS);
    tails.append(&mut streams);
    Wanted { wants: tails, more: more as u64 }
}

/// Unread bytes of the target's own output, in the order in which the objects came under watch.
fn tails(session: &Session, flows: &Flows) -> Vec<Want> {
    let mut objects: Vec<_> = session.objects.values().filter(|object| object.hop == 0).collect();
    objects.sort_by_key(|object| (object.seen_ns, object.id));
    let tail = |object: ObjectId| {
        let flow = flows.get(&object);
        let unread = flow.unread.filter(|unread| *unread > 0)?;
        let (in_flight, written) = (flow.in_flight, flow.written);
        // Bytes from before the trace cannot have been captured.
        let is_stream = session.objects.get(&object).is_none_or(Object::is_byte_stream);
        let is_sure = flow.is_consistent && is_stream;
        (written > 0).then_some(Want::Tail { object, unread, in_flight, written, is_sure })
    };
    objects.into_iter().filter_map(|object| tail(object.id)).collect()
}

/// The object of a tail that covers all bytes written to it; its streams need no request of their own.
fn whole_object(want: &Want) -> Option<ObjectId> {
    match *want {
        Want::Tail { object, unread, written, .. } if unread >= written => Some(object),
        _ => None,
    }
}

/// The rows that a finding is about.
fn rows(case: &Case<'_>, finding: &Finding) -> Vec<LedgerKey> {
    let subjects = case.subjects.iter().chain(&case.inner);
    let about: Vec<&Subject<'_>> =
        subjects.filter(|subject| subject.process.id.tgid == finding.pid).collect();
    if about.is_empty() {
        return rows_of_log(case, finding);
    }
    let mut rows = Vec::new();
    for subject in about {
        for stream in subject.streams().into_iter().filter(|stream| concerns(finding, stream)) {
            rows.extend(subject.members.iter().flat_map(|member| {
                written(case.session, *member).filter(|key| key.object == stream.object)
            }));
        }
    }
    rows
}

pub(super) fn concerns(finding: &Finding, stream: &Stream) -> bool {
    !stream.object.is_none() && finding.fd.is_none_or(|fd| fd == stream.fd)
}

/// The rows that a process wrote to.
fn written(session: &Session, process: ProcessId) -> impl Iterator<Item = LedgerKey> {
    session.rows_of(process, WRITE).filter(|(_, row)| row.bytes > 0).map(|(key, _)| *key)
}

/// The rows for a finding about a container engine's log: what the engine read from the container. The directory of
/// the log and the FIFOs have the id of the container in their names.
pub(super) fn rows_of_log(case: &Case<'_>, finding: &Finding) -> Vec<LedgerKey> {
    let source = finding.evidence.get("source").and_then(|source| source.as_str());
    let Some(id) = source.and_then(|path| path.rsplit('/').nth(1)) else { return Vec::new() };
    let session = case.session;
    let is_read = |object: &ObjectId| {
        session.ledger.keys().any(|key| {
            (key.process.tgid, key.direction, key.object) == (finding.pid, READ, *object)
        })
    };
    let of_container = session
        .objects
        .values()
        .filter(|object| object.kind.is_pipe() && object.path.contains(id) && is_read(&object.id));
    let objects: BTreeSet<ObjectId> = of_container.map(|object| object.id).collect();
    let rows = session.ledger.iter().filter(|(key, row)| {
        key.direction == WRITE && row.bytes > 0 && objects.contains(&key.object)
    });
    rows.map(|(key, _)| *key).collect()
}
