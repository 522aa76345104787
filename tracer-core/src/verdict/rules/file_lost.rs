//! The output went into a file, and is not there any more: the file was removed, cut, or overwritten by another writer.

use serde_json::json;
use tracer_common::object::ObjectId;

pub(super) use self::removed::remover;
pub(in crate::verdict) use self::{
    cause::is_overwritten,
    removed::{is_removed, removers},
};
use self::{
    gone::{Gone, gone},
    hole::hole,
    meant::{is_meant, is_of_another_job},
};
use super::super::{Case, Scope, Stream, Subject, evidence, words};
use crate::{
    session::{Endpoint, Kind, Object},
    text::units,
    verdict::{Confidence, Finding, Rule, Severity},
};

mod cause;
pub(in crate::verdict) mod gone;
mod hole;
mod meant;
pub(super) mod of_relays;
mod removed;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum Loss {
    /// The file has no name any more, and no process can read it. This many of its bytes had not been read.
    Removed(u64),
    /// Bytes that were written to the file and are not in it any more.
    Missing(Gone),
    /// The file has no name, or is not at its path. This many of its bytes had not been read, as far as tracer saw.
    Unproven(u64),
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
            Self::Unproven(bytes) => (0, bytes),
            Self::Hole(_) => (0, 0),
        }
    }
}

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let streams = subject.distinct_streams().into_iter();
    let lost = streams.filter_map(|stream| {
        let loss = loss(case, stream)?;
        let is_meant = subject.scope == Scope::Redirected && is_meant(case, &stream.object, loss);
        (!is_meant).then(|| match cause::of_victim(case, subject, stream, loss) {
            Some((victim, stream, loss)) => describe(case, &victim, &stream, loss),
            None => describe(case, subject, stream, loss),
        })
    });
    lost.collect()
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

/// Whether a process cut a file after something had been written to it.
pub(super) fn was_cut(case: &Case<'_>, object: &ObjectId) -> bool {
    cause::cut(case, object).is_some()
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
    let removed = removed::loss(case, object, flow.written - flow.read);
    if removed.is_some() || is_removed(case, &object.id) || is_of_another_job(case, &object.id) {
        return removed;
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
            format!("the file {name}{}", removed::describe(case, object_id, bytes))
        }
        Loss::Unproven(bytes) => {
            format!("the file {name}{}", removed::describe_unproven(case, object_id, bytes))
        }
        Loss::Missing(gone) => {
            let cause = cause::cause(case, object_id, subject.process);
            let unseen = gone::what_is_unseen(case, object_id);
            format!("the file {name}, and {}", missing(gone, &cause, unseen))
        }
        Loss::Hole(gone) => format!("the file {name}, {}", hole::describe(case, object_id, gone)),
    };
    let message = format!("{lead} into {what}.{}", words::ending(subject));
    let (least, most) = loss.bytes();
    let severity = if least > 0 { Severity::Loss } else { Severity::Warning };
    let finding = evidence::finding(case, subject, Rule::FileLost, severity, message);
    let finding = evidence::with_stream(finding, case, stream);
    let mut finding = evidence::seen(case, stream, finding);
    if least == 0 && matches!(loss, Loss::Missing(_) | Loss::Unproven(_)) {
        finding.confidence = Confidence::Unsure;
    }
    finding.advice = Some(match loss {
        Loss::Unproven(_) if is_removed(case, object_id) => {
            "Read the file from its beginning to its end before it is closed.".into()
        }
        Loss::Removed(_) | Loss::Unproven(_) if !is_removed(case, object_id) => {
            "Show what a step has said before its file is removed, at least if it failed.".into()
        }
        Loss::Removed(_) | Loss::Unproven(_) => WHILE_WRITTEN.to_owned(),
        Loss::Missing(_) => cause::advice(case, object_id).into(),
        Loss::Hole(_) => {
            "Open the file for appending (`>>`) in each writer: they go on where it ends.".into()
        }
    });
    let kind = match loss {
        Loss::Removed(_) => "removed",
        Loss::Unproven(_) => "unproven",
        Loss::Missing(_) => "missing",
        Loss::Hole(_) => "hole",
    };
    let numbers = [("loss", json!(kind)), ("lost", json!(least)), ("lost_at_most", json!(most))];
    evidence::with_all(finding, numbers)
}

/// What to do about a file that was removed too early.
const WHILE_WRITTEN: &str = "Find out what removes the file while it is written.";

/// How many bytes are missing in a file, and why.
fn missing(gone: Gone, cause: &str, unseen: &str) -> String {
    let (least, most) = (units::exact(gone.least), units::exact(gone.most));
    match gone.least {
        0 => format!(
            "up to {most} of what was written there may be gone: {cause}, and tracer did not see {unseen}"
        ),
        // It is certain that the file was emptied, and not how much was in it.
        1 if gone.most > 1 => format!("up to {most} of what was written there are gone: {cause}"),
        bytes if bytes < gone.most => {
            format!("at least {least} of what was written there are gone: {cause}")
        }
        _ => format!("{least} of what was written there are gone: {cause}"),
    }
}
