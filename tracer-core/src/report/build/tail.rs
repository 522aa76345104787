//! Which streams lost output, and what a recorder has kept of their ends.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE},
    object::ObjectId,
};

use super::wanted::{concerns, rows_of_log};
use crate::{
    capture::{
        Reason,
        tails::{Kept, TailPart},
    },
    report::{NotKept, Tail},
    session::{Flow, Session},
    text::redact::Redact,
    verdict::{Case, Finding, Stream, Subject},
};

/// A stream that lost output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostStream {
    /// Fd number, as the command sees it.
    pub fd: i32,
    /// The object that was written to.
    pub object: ObjectId,
    /// What the command wrote to it: by process and fd.
    rows: Vec<(LedgerKey, LedgerRow)>,
    /// Bytes at its end that were lost; `None` if that is not known.
    lost: Option<u64>,
    /// Those of them that belong to a blocked write, and were not captured.
    in_flight: u64,
}

/// The streams that these findings are about, each object once.
#[must_use]
pub fn lost_streams<'a>(
    case: &Case<'_>,
    findings: impl IntoIterator<Item = &'a Finding>,
) -> Vec<LostStream> {
    let mut found: BTreeMap<ObjectId, LostStream> = BTreeMap::new();
    for finding in findings {
        for (fd, key, row) in rows(case, finding) {
            let stream = found.entry(key.object).or_insert_with(|| {
                let flow = case.flows.get(&key.object);
                LostStream { fd, object: key.object, ..lost_of(flow) }
            });
            if !stream.rows.iter().any(|(known, _)| *known == key) {
                stream.rows.push((key, row));
            }
        }
    }
    found.into_values().collect()
}

fn lost_of(flow: &Flow) -> LostStream {
    let lost = flow.unread.filter(|unread| *unread > 0);
    LostStream { lost, in_flight: flow.in_flight, ..LostStream::default() }
}

/// The rows that a finding is about, each with the fd of its stream. A finding about a reader is about what its writers
/// wrote.
fn rows(case: &Case<'_>, finding: &Finding) -> Vec<(i32, LedgerKey, LedgerRow)> {
    let subjects = || case.subjects.iter().chain(&case.inner);
    let mut about = subjects().filter(|subject| subject.process.id.tgid == finding.pid).peekable();
    if about.peek().is_some() {
        return about.flat_map(|subject| rows_of(case, subject, Some(finding))).collect();
    }
    let of_log = rows_of_log(case, finding);
    let row = |key: &LedgerKey| case.session.ledger.get(key).copied().unwrap_or_default();
    if of_log.is_empty() {
        return subjects().flat_map(|subject| rows_of(case, subject, None)).collect();
    }
    of_log.into_iter().map(|key| (key.fd, key, row(&key))).collect()
}

fn rows_of(
    case: &Case<'_>,
    subject: &Subject<'_>,
    finding: Option<&Finding>,
) -> Vec<(i32, LedgerKey, LedgerRow)> {
    let mut rows = Vec::new();
    let is_meant = |stream: &&Stream| finding.is_none_or(|finding| concerns(finding, stream));
    for stream in subject.streams().into_iter().filter(is_meant) {
        for member in &subject.members {
            let written = case.session.rows_of(*member, WRITE);
            let written = written.filter(|(key, row)| key.object == stream.object && row.bytes > 0);
            rows.extend(written.map(|(key, row)| (stream.fd, *key, *row)));
        }
    }
    rows
}

/// What was kept of a stream that lost output, and the bytes themselves, redacted; [`Tail::text`] is empty. `kept` is
/// what is kept of its object, by whatever process.
#[must_use]
pub fn tail(
    session: &Session,
    stream: &LostStream,
    kept: Option<Kept>,
    redact: Option<&Redact>,
) -> (Tail, Vec<u8>) {
    let sum = |of: fn(&LedgerRow) -> u64| stream.rows.iter().map(|(_, row)| of(row)).sum::<u64>();
    let (written, captured) = (sum(|row| row.bytes), sum(|row| row.captured));
    let mut tail = Tail {
        fd: stream.fd,
        object: session.object_name(&stream.object),
        written,
        lost: stream.lost,
        ..Tail::default()
    };
    let members: BTreeSet<ProcessId> = stream.rows.iter().map(|(key, _)| key.process).collect();
    let is_empty = |kept: &Kept| !kept.parts.iter().any(|part| members.contains(&part.process()));
    let Some(mut kept) = kept.filter(|kept| !is_empty(kept)) else {
        let why = if captured > 0 { NotKept::NoRoom } else { NotKept::NotCaptured };
        tail.not_kept = (written > 0).then_some(why);
        return (tail, Vec::new());
    };
    complete(&mut kept, stream, &members, written);
    let wanted = stream.lost.map_or(u64::MAX, |lost| lost.saturating_sub(stream.in_flight));
    let mut hidden = whole(&kept.parts).saturating_sub(wanted);
    let mut lines = lines::Lines::new(kept.is_cut);
    for part in &kept.parts {
        let before = hidden.min(part.length());
        hidden -= before;
        if members.contains(&part.process()) {
            lines.add(part, before);
        }
    }
    if let (Some(_), Some((key, _)), 1..) = (stream.lost, stream.rows.last(), stream.in_flight) {
        lines.add(&TailPart::Gap(key.process, stream.in_flight, Reason::Unexplained), 0);
    }
    (tail.kept, tail.missing) = (lines.kept, lines.missing);
    let is_whole = tail.kept + tail.missing >= stream.lost.unwrap_or(written).min(written);
    tail.not_kept = match (is_whole, kept.is_short, kept.is_cut) {
        (true, ..) => None,
        (_, true, _) => Some(NotKept::NoRoom),
        (_, _, true) => Some(NotKept::Limit),
        _ => Some(NotKept::NotCaptured),
    };
    let text = lines.text(redact);
    (tail, text)
}

fn whole(parts: &[TailPart]) -> u64 {
    parts.iter().map(TailPart::length).fold(0, u64::saturating_add)
}

/// Adds the gaps that no record told: what the kernel's ring had no room for at the end, and what was counted only.
fn complete(kept: &mut Kept, stream: &LostStream, members: &BTreeSet<ProcessId>, written: u64) {
    for (key, row) in &stream.rows {
        let told =
            kept.lost.iter().find(|(process, fd, _)| (*process, *fd) == (key.process, key.fd));
        let untold = row.uncaptured.saturating_sub(told.map_or(0, |(.., lost)| *lost));
        if untold > 0 {
            kept.parts.push(TailPart::Gap(key.process, untold, Reason::RingFull));
        }
    }
    let of_members = kept.parts.iter().filter(|part| members.contains(&part.process()));
    let known: u64 = of_members.map(TailPart::length).fold(0, u64::saturating_add);
    let unknown = written.saturating_sub(known);
    if let (false, 1.., Some(first)) = (kept.is_cut, unknown, members.first()) {
        kept.parts.insert(0, TailPart::Gap(*first, unknown, Reason::Unexplained));
    }
}
