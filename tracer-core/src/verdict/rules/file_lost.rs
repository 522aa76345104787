//! The output went into a file, and is not there any more: the file was removed, cut, or overwritten by another writer.

use std::{collections::BTreeSet, path::Path};

use serde_json::json;
use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    object::ObjectId,
};

use self::{
    gone::{Gone, gone},
    hole::hole,
};
use super::super::{Case, Scope, Stream, Subject, evidence, words};
use crate::{
    session::{
        Endpoint, Holding, Kind, Object, Process, Session, is_given, is_remover, may_be_after,
    },
    text::units,
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(in crate::verdict) mod gone;
mod hole;
pub(super) mod of_relays;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum Loss {
    /// The file has no name any more, and no process can read it. This many of its bytes had not been read.
    Removed(u64),
    /// Bytes that were written to the file and are not in it any more.
    Missing(Gone),
    /// A reader has what was in the file when it was emptied, and a writer that does not append has gone on where it was:
    /// the file begins with so many bytes that nobody wrote, at least and at most.
    Hole(Gone),
}

impl Loss {
    /// Bytes that are lost, at least and at most.
    pub(in crate::verdict) fn bytes(self) -> (u64, u64) {
        match self {
            Self::Removed(bytes) => (bytes, bytes),
            Self::Missing(gone) => (gone.least, gone.most),
            Self::Hole(_) => (0, 0),
        }
    }
}

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let streams = subject.distinct_streams().into_iter();
    let lost = streams.filter_map(|stream| {
        let loss = loss(case, stream)?;
        let is_meant = subject.scope == Scope::Redirected && is_meant(case, &stream.object, loss);
        (!is_meant).then(|| describe(case, subject, stream, loss))
    });
    lost.collect()
}

/// A command that writes to one file again and again, one time after the other, means to.
fn is_meant(case: &Case<'_>, object: &ObjectId, loss: Loss) -> bool {
    matches!(loss, Loss::Missing(_)) && is_rewritten(case, object)
}

/// Whether this rule says that output which was redirected to an object is not there any more, or not all of it.
pub(super) fn tells(case: &Case<'_>, object: &ObjectId) -> bool {
    loss_in(case, object).is_some_and(|loss| !is_meant(case, object, loss))
}

/// The size of a file with output that was redirected to it, if the command has written it anew since, so that the file
/// has less of it.
pub(super) fn size_if_rewritten(case: &Case<'_>, object: &ObjectId) -> Option<u64> {
    loss_in(case, object).filter(|loss| is_meant(case, object, *loss))?;
    case.session.objects.get(object)?.size_after
}

/// Whether this rule says so of all that a command and its children wrote.
pub(in crate::verdict) fn tells_all(case: &Case<'_>, subject: &Subject<'_>) -> bool {
    let mut redirected = subject.redirected.iter();
    subject.bytes() == 0
        && !subject.redirected.is_empty()
        && redirected.all(|(object, _)| tells(case, object))
}

/// What became of the bytes of a stream, if they are lost.
pub(in crate::verdict) fn loss(case: &Case<'_>, stream: &Stream) -> Option<Loss> {
    if stream.row.bytes > 0 { loss_in(case, &stream.object) } else { None }
}

/// What became of bytes that were written to an object, if they are lost.
fn loss_in(case: &Case<'_>, object: &ObjectId) -> Option<Loss> {
    let object = case.session.objects.get(object)?;
    let flow = case.flows.get(&object.id);
    // A reader of all of it has it.
    if object.kind != Kind::File || flow.read >= flow.written {
        return None;
    }
    if is_removed(case, &object.id) {
        let is_readable = case.session.holders(&object.id).any(Holding::reads);
        return (!is_readable).then_some(Loss::Removed(flow.written - flow.read));
    }
    if was_removed_after_failure(case, object) {
        return Some(Loss::Removed(flow.written - flow.read));
    }
    if is_of_another_job(case, &object.id) {
        return None;
    }
    let gone = gone(case, object).without(saved(case, object));
    // Of what one process wrote before and after a cut, only the sum is known. A copy tells what was there.
    let hole = hole(case, object);
    if let Some(exact) = hole.filter(|hole| hole.least == hole.most && gone.least == 0) {
        return Some(Loss::Hole(exact));
    }
    let lost = (gone.most > 0).then_some(Loss::Missing(gone));
    lost.or_else(|| hole.map(Loss::Hole))
}

/// Whether a file has no name any more.
pub(in crate::verdict) fn is_removed(case: &Case<'_>, object: &ObjectId) -> bool {
    let known = case.session.objects.get(object);
    known.is_some_and(Object::is_removed)
}

/// Whether a file that no process has open any more, and that is not at its path, held the output of a command that failed,
/// and `rm` named it: a wrapper script has removed the reason unread. The log of a command that succeeded is removed on
/// purpose, and so is a file that a shell only redirected one step to, such as a lock with its pid.
fn was_removed_after_failure(case: &Case<'_>, object: &Object) -> bool {
    let is_its_output = |writer: &Process| {
        let at_end = writer.stdio_at_end.iter().flat_map(|stdio| &stdio[1..]);
        writer.has_as_output(&object.id)
            || at_end.into_iter().any(|state| state.object == object.id)
    };
    let has_failed = |(key, _): (&LedgerKey, &LedgerRow)| {
        let writer = case.session.processes.get(&key.process);
        writer.is_some_and(|writer| writer.has_failed() && is_its_output(writer))
    };
    object.is_missing()
        && case.writes_to(&object.id).any(has_failed)
        && remover(case, &object.id).is_some_and(|by| ["rm", "unlink"].contains(&by.comm.as_str()))
        && !was_given_to_reader(case, object)
}

/// Whether a program that started after the first write has a file in its arguments and does not remove it: `grep x FILE`.
/// Its reads need not be counted, if it is so quick that tracer does not watch the file yet.
fn was_given_to_reader(case: &Case<'_>, object: &Object) -> bool {
    let began = began(case, &object.id).unwrap_or(0);
    let writes = |id| case.writes_to(&object.id).any(|(key, _)| key.process == id);
    case.session.processes.values().any(|process| {
        process.executed
            && process.id.start_ns > began
            && !is_remover(process)
            && is_given(process, Path::new(&object.path))
            && !writes(process.id)
    })
}

/// When a file was first written, nanoseconds since boot.
fn began(case: &Case<'_>, object: &ObjectId) -> Option<u64> {
    case.writes_to(object).map(|(_, row)| row.first_ns).min()
}

/// Bytes that a reader, such as `cp`, had read before the file was cut or overwritten: before the last write, or more
/// than there are now.
fn saved(case: &Case<'_>, object: &Object) -> u64 {
    let flow = case.flows.get(&object.id);
    let latest = |ends: &[Endpoint]| ends.iter().map(|end| end.last_ns).max().unwrap_or(0);
    if latest(&flow.readers) < latest(&flow.writers) {
        return flow.read;
    }
    flow.read.saturating_sub(object.size_after.unwrap_or(0))
}

/// Whether what is missing in a file is what one job wrote, and another job has written the file anew since: the log of the
/// latest run. A recorder judges each job by itself.
fn is_of_another_job(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((latest, row)) = case.writes_to(object).max_by_key(|(_, row)| row.last_ns) else {
        return false;
    };
    // What a job writes through one open file after the other, and cuts itself, is no other job's.
    let is_of_job = |key: &LedgerKey| {
        case.session.processes.get(&key.process).is_some_and(|writer| writer.is_target)
    };
    let is_latest =
        |key: &LedgerKey| key.process == latest.process || is_of_job(latest) && is_of_job(key);
    let began = case.writes_to(object).filter(|(key, _)| is_latest(key));
    let began = began.map(|(key, row)| if is_sum(case, key) { row.last_ns } else { row.first_ns });
    let began_ns = began.min().unwrap_or(row.first_ns);
    let mut others = case.writes_to(object).filter(|(key, _)| !is_latest(key)).peekable();
    let cut_ns = case.cuts.get(object).map_or(0, |(cut_ns, _)| *cut_ns);
    case.session.is_part
        && others.peek().is_some()
        && others.all(|(_, other)| other.last_ns < began_ns)
        && cut_ns <= began_ns
        && is_rewritten(case, object)
}

/// Whether a row is that of several processes, so that its times say little.
fn is_sum(case: &Case<'_>, key: &LedgerKey) -> bool {
    case.session.processes.get(&key.process).is_some_and(|known| known.summed_up.is_some())
}

/// Whether a command writes a file anew on purpose: no process that is not a part of the latest writing had it as its
/// output any more, and it was not opened for stdout and for stderr apart from each other.
fn is_rewritten(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((latest, row)) = case.writes_to(object).max_by_key(|(_, row)| row.last_ns) else {
        return false;
    };
    let Some(writer) = case.session.processes.get(&latest.process) else { return false };
    let has_it = |process: &Process| {
        let ended = process.end_ns.is_some_and(|end_ns| end_ns < row.first_ns);
        let is_related = case.is_above(process.id, writer) || case.is_above(writer.id, process);
        !is_related && !ended && process.has_as_output(object)
    };
    let is_split = !case.cuts.contains_key(object)
        && case.writes_to(object).any(|(key, _)| key.fd == 1)
        && case.writes_to(object).any(|(key, _)| key.fd == 2);
    !is_split
        && !is_cut_under_writer(case, object)
        && !is_mixed(case, object, writer)
        && !has_other_writer(case, object, writer, row.first_ns)
        && !case.session.processes.values().any(has_it)
}

/// Whether a process cut the file while another one was writing to it: `tee /dev/stderr`, with stderr in a file. The time
/// of a file's row can be too early, so a process that has the file as its output may have written after the cut.
fn is_cut_under_writer(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((cut_ns, by)) = case.cuts.get(object) else { return false };
    let has_it = |id| {
        let process: Option<&Process> = case.session.processes.get(&id);
        process.is_some_and(|process| {
            process.end_ns.is_none_or(|end_ns| end_ns > *cut_ns) && process.has_as_output(object)
        })
    };
    case.writes_to(object).any(|(key, row)| {
        let goes_on = row.last_ns > *cut_ns || may_be_after(row, *cut_ns) && has_it(key.process);
        key.process != by.id && row.first_ns <= *cut_ns && goes_on
    })
}

/// Whether the latest output of a file stands in front of older output: the file was not emptied before, and each writer
/// got it as stdout or stderr. A program that opens a file by itself, such as `dd conv=notrunc`, changes it on purpose.
fn is_mixed(case: &Case<'_>, object: &ObjectId, latest: &Process) -> bool {
    let bytes: u64 = case
        .writes_to(object)
        .filter(|(key, _)| key.process == latest.id)
        .map(|(_, row)| row.bytes)
        .sum();
    let size = case.session.objects.get(object).and_then(|object| object.size_after);
    let was_given = |key: &LedgerKey| {
        let process = case.session.processes.get(&key.process);
        process.is_some_and(|process| process.has_as_output(object))
    };
    let began = began(case, object).unwrap_or(0);
    case.cuts.get(object).is_none_or(|(cut_ns, _)| *cut_ns <= began)
        && size.is_some_and(|size| size > bytes)
        && case.writes_to(object).all(|(key, _)| was_given(key))
}

/// Whether a process that is not related to the writer had written to a file, and still ran.
fn has_other_writer(case: &Case<'_>, object: &ObjectId, writer: &Process, time_ns: u64) -> bool {
    case.writes_to(object).any(|(key, row)| {
        let Some(other) = case.session.processes.get(&key.process) else { return false };
        let ended_ns =
            other.end_ns.unwrap_or(if is_sum(case, key) { row.last_ns } else { u64::MAX });
        let ran = row.first_ns < time_ns && ended_ns > time_ns;
        ran && !case.is_above(other.id, writer) && !case.is_above(writer.id, other)
    })
}

/// Whether bytes that are missing in a file were overwritten, very likely: it has several writers, and no process was seen
/// to cut it.
pub(in crate::verdict) fn is_overwritten(case: &Case<'_>, object: &ObjectId) -> bool {
    !case.cuts.contains_key(object) && case.flows.get(object).writers.len() > 1
}

fn is_written_through_several_fds(case: &Case<'_>, object: &ObjectId) -> bool {
    let fds: BTreeSet<i32> = case.writes_to(object).map(|(key, _)| key.fd).collect();
    fds.len() > 1
}

/// Why bytes are missing in a file.
fn cause(case: &Case<'_>, object: &ObjectId) -> String {
    match case.cuts.get(object) {
        Some((time_ns, process)) => format!("{} cut the file", process.short_at(*time_ns)),
        None if is_overwritten(case, object) => {
            "another writer overwrote them, or the file was cut".to_owned()
        }
        // `>log 2>log` opens it twice, and each begins at the file's start.
        None if is_written_through_several_fds(case, object) => {
            "what was written through one fd overwrote what another had written, or the file was cut".to_owned()
        }
        None => "the file was cut".to_owned(),
    }
}

/// The process that probably removed a file: the only remover with its name in an argument that still ran
/// when the file was first written. The kernel side does not see which process removes a name.
pub(super) fn remover<'a>(case: &'a Case<'_>, object: &ObjectId) -> Option<&'a Process> {
    let path = Path::new(&case.session.objects.get(object)?.path);
    let began = began(case, object)?;
    let mut found = case.removers.iter().filter(|process| {
        process.end_ns.is_none_or(|end_ns| end_ns > began) && is_given(process, path)
    });
    found.next().copied().filter(|_| found.next().is_none())
}

/// The processes that run a program which removes files.
pub(in crate::verdict) fn removers(session: &Session) -> Vec<&Process> {
    let processes = session.processes.values();
    processes.filter(|process| is_remover(process)).collect()
}

fn describe(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream, loss: Loss) -> Finding {
    let lead = format!(
        "{} wrote {}{} to {},",
        words::writer(subject, stream),
        units::exact(subject.bytes_to(stream)),
        words::since_attached(subject),
        stream.name()
    );
    told(case, subject, (stream, loss), &lead)
}

/// The finding about a loss in a file; `lead` is the beginning of its sentence.
fn told(
    case: &Case<'_>,
    subject: &Subject<'_>,
    (stream, loss): (&Stream, Loss),
    lead: &str,
) -> Finding {
    let object_id = &stream.object;
    let name = words::object(case, object_id);
    let what = match loss {
        Loss::Removed(bytes) => {
            let by = remover(case, &stream.object)
                .map_or(String::new(), |by| format!(", probably by {}", words::called(by)));
            format!("the file {name}, which was removed{by}: {} are gone", units::exact(bytes))
        }
        Loss::Missing(gone) => format!("the file {name}, and {}", missing(case, stream, gone)),
        Loss::Hole(gone) => format!("the file {name}, {}", hole::describe(case, object_id, gone)),
    };
    let message = format!("{lead} into {what}.{}", words::ending(subject));
    let (least, most) = loss.bytes();
    let severity = if least > 0 { Severity::Loss } else { Severity::Warning };
    let finding = evidence::finding(case, subject, Rule::FileLost, severity, message);
    let finding = evidence::with_stream(finding, case, stream);
    let mut finding = evidence::seen(case, stream, finding);
    if least == 0 && matches!(loss, Loss::Missing(_)) {
        finding.confidence = Confidence::Unsure;
    }
    finding.advice = Some(match loss {
        Loss::Removed(_) if !is_removed(case, &stream.object) => {
            "Show what a step has said before its file is removed, at least if it failed.".into()
        }
        Loss::Removed(_) => WHILE_WRITTEN.to_owned(),
        Loss::Missing(_) => {
            "Open the file for appending (`>>`) in each writer, and cut it only after a copy."
                .into()
        }
        Loss::Hole(_) => {
            "Open the file for appending (`>>`) in each writer: they go on where it ends.".into()
        }
    });
    let kind = match loss {
        Loss::Removed(_) => "removed",
        Loss::Missing(_) => "missing",
        Loss::Hole(_) => "hole",
    };
    let numbers = [("loss", json!(kind)), ("lost", json!(least)), ("lost_at_most", json!(most))];
    evidence::with_all(finding, numbers)
}

/// What to do about a file that was removed too early.
const WHILE_WRITTEN: &str = "Find out what removes the file while it is written.";

/// How many bytes are missing in a file, and why.
fn missing(case: &Case<'_>, stream: &Stream, gone: Gone) -> String {
    let cause = cause(case, &stream.object);
    let (least, most) = (units::exact(gone.least), units::exact(gone.most));
    match gone.least {
        0 => format!(
            "up to {most} of what was written there may be gone: {cause}, and tracer did not see to which length"
        ),
        // It is certain that the file was emptied, and not how much was in it.
        1 if gone.most > 1 => format!("up to {most} of what was written there are gone: {cause}"),
        bytes if bytes < gone.most => {
            format!("at least {least} of what was written there are gone: {cause}")
        }
        _ => format!("{least} of what was written there are gone: {cause}"),
    }
}
