//! Why bytes are missing in a file, and whose they were.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{id::ProcessId, ledger::LedgerRow, object::ObjectId};

use super::{
    Loss, began,
    gone::{Gone, appends, what_was_done, written_before},
    meant::{is_own_input, is_own_output, is_split},
};
use crate::{
    session::{CutKind, Process},
    verdict::{Case, Scope, Stream, Subject, rows::add, words},
};

/// The process that cut a file last, and when, if something had been written to it.
pub(super) fn cut<'a>(case: &'a Case<'_>, object: &ObjectId) -> Option<&'a (u64, &'a Process)> {
    let began = began(case, object).unwrap_or(0);
    case.cuts.get(object).filter(|(cut_ns, _)| *cut_ns > began)
}

/// Whether bytes that are missing in a file were written over, very likely: no process was seen to cut it, and it has several
/// writers, or one through two openings.
pub(in crate::verdict) fn is_overwritten(case: &Case<'_>, object: &ObjectId) -> bool {
    let has_several = || case.flows.get(object).writers.len() > 1;
    cut(case, object).is_none() && (has_several() || is_split(case, object))
}

/// Why bytes are missing in a file that a process wrote.
pub(super) fn cause(case: &Case<'_>, object: &ObjectId, process: &Process) -> String {
    if let Some((time_ns, by)) = cut(case, object) {
        if is_own_input(case, object) {
            let by = words::called(by);
            return format!(
                "{by} has the file as its input and as its output, so it was cut before it was read"
            );
        }
        let own = match is_own_output(case, object) {
            true => ", which it opened by its name and had as its own output",
            false => "",
        };
        let what = what_was_done(case, object);
        return format!("{} {what}{own}", by.short_at(*time_ns));
    }
    if appends(case, object) {
        return "the file was cut, unseen".to_owned();
    }
    if is_split(case, object) {
        return "written over, very likely: its stdout and stderr are two openings of the file"
            .to_owned();
    }
    let others: BTreeSet<ProcessId> =
        case.writes_to(object).map(|(key, _)| key.process).filter(|id| *id != process.id).collect();
    let fds: BTreeSet<i32> = case.writes_to(object).map(|(key, _)| key.fd).collect();
    match (others.first().and_then(|other| case.session.processes.get(other)), fds.len()) {
        (Some(other), _) if others.len() == 1 => {
            format!("written over, as {} wrote to the file, too", words::called(other))
        }
        (Some(_), _) => "written over, as other processes wrote to the file, too".to_owned(),
        (None, 1) => "written over by its later output, or the file was cut unseen".to_owned(),
        (None, _) => "written over through another of its fds".to_owned(),
    }
}

/// What to do about it.
pub(super) fn advice(case: &Case<'_>, object: &ObjectId) -> &'static str {
    match () {
        () if is_own_output(case, object) => {
            "Use `>&2`, or `>>/dev/stderr`: to open one's own output by its name with `>` cuts it."
        }
        () if is_own_input(case, object) => {
            "Write to another file, and rename it (`<f >f.new && mv f.new f`)."
        }
        () if is_split(case, object) => "Use `>log 2>&1`: then both share one place in the file.",
        () => "Open the file for appending (`>>`) in each writer, and cut it only after a copy.",
    }
}

/// The subject of a file in which bytes are missing that several processes wrote: not the one that cut it, or wrote over
/// what was there. With what is gone of its bytes.
pub(super) fn of_victim<'a>(
    case: &'a Case<'_>,
    subject: &Subject<'a>,
    stream: &Stream,
    loss: Loss,
) -> Option<(Subject<'a>, Stream, Loss)> {
    let Loss::Missing(gone) = loss else { return None };
    let object = stream.object;
    let mut writers: BTreeMap<ProcessId, LedgerRow> = BTreeMap::new();
    for (key, row) in case.writes_to(&object) {
        add(writers.entry(key.process).or_insert(LedgerRow::ZERO), row);
    }
    if subject.scope != Scope::Redirected || writers.len() < 2 {
        return None;
    }
    let (victim, row) = match cut(case, &object) {
        Some((cut_ns, by)) => writers
            .iter()
            .filter(|(id, row)| **id != by.id && row.first_ns <= *cut_ns)
            .max_by_key(|(_, row)| row.bytes)?,
        None => writers.iter().min_by_key(|(_, row)| row.first_ns)?,
    };
    let process = case.session.processes.get(victim).filter(|known| known.summed_up.is_none())?;
    let stream = Stream { row: *row, ..stream.clone() };
    let other = Stream { fd: 3 - stream.fd, ..Stream::default() };
    let streams = if stream.fd == 2 { [other, stream.clone()] } else { [stream.clone(), other] };
    let (scope, wrote_ns) = (Scope::Redirected, row.first_ns);
    let members = [process.id].into();
    let subject = Subject { scope, wrote_ns, ..Subject::new(process, members, streams) };
    Some((subject, stream, Loss::Missing(own(case, &object, process.id, gone))))
}

/// What is gone of the bytes of one of several writers. When the file was emptied, all that it had written was.
fn own(case: &Case<'_>, object: &ObjectId, process: ProcessId, gone: Gone) -> Gone {
    let cuts = case.cuts_of.get(object).map_or(&[][..], Vec::as_slice);
    let emptied = cuts.iter().rfind(|cut| cut.kind == CutKind::Emptied);
    let rows = || case.writes_to(object).filter(|(key, _)| key.process == process);
    let Some(emptied) = emptied.filter(|_| cut(case, object).is_some()) else { return gone };
    let before = written_before(rows(), emptied.time_ns);
    let all: u64 = rows().map(|(_, row)| row.bytes).sum();
    Gone { least: before.least.min(gone.most), most: gone.most.min(all) }
}
