//! fd 1 or 2 was redirected after the start, so the output did not go to the manager's pipe.

use std::collections::BTreeSet;

use serde_json::json;
use tracer_common::{ledger::LedgerKey, object::ObjectId};

use super::{
    super::{Case, Subject, evidence, words},
    file_lost,
};
use crate::{
    event::FileNow,
    session::{Kind, Object},
    text::{list, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    // What is in a file no more is not to be looked for there.
    let is_there = |(object, _): &&(ObjectId, u64)| !file_lost::tells(case, object);
    let redirected: Vec<&(ObjectId, u64)> = subject.redirected.iter().filter(is_there).collect();
    let bytes: u64 = redirected.iter().map(|(_, bytes)| bytes).sum();
    if bytes == 0 || subject.process.attached_late {
        return Vec::new();
    }
    let objects: BTreeSet<_> = redirected.iter().map(|(object, _)| *object).collect();
    let places: Vec<String> =
        objects.iter().map(|object| case.session.object_name(object)).collect();
    let reader = readers(case, &objects);
    let readers = reader.as_ref().map_or(String::new(), |by| format!(", all read by {by}"));
    let named: Vec<String> = objects.iter().map(|object| place(case, object)).collect();
    let (sum, names) = (units::exact(bytes), format!("{}{readers}", list(&named, ", ")));
    let is_only = subject.bytes() == 0;
    let own = if is_only { "; nothing to its own stdout and stderr" } else { "" };
    let is_redirected = |key: &LedgerKey| objects.contains(&key.object) && matches!(key.fd, 1 | 2);
    let writer = subject.only_writer(case.session, is_redirected);
    let writer = writer.filter(|writer| writer.id != subject.process.id);
    let what = match writer {
        Some(writer) => format!(
            "{} wrote {sum} to {names}, redirected inside {}",
            words::called(writer),
            words::who(subject)
        ),
        None => {
            format!("{} redirected its output: {sum} went to {names}{own}", words::who(subject))
        }
    };
    let discarded = match subject.discarded {
        bytes if is_only && subject.discards_output() => {
            format!("; {} went to /dev/null", units::exact(bytes))
        }
        _ => String::new(),
    };
    let passed_on = passed_on(case, &objects).unwrap_or_default();
    let ending = words::end_of(writer.unwrap_or(subject.process));
    let message = format!("{what}{passed_on}{discarded}.{ending}");
    let mut finding = evidence::finding(case, subject, Rule::Elsewhere, Severity::Info, message);
    let counted: Vec<ObjectId> = objects.iter().copied().collect();
    if case.confidence_of(subject.process, &counted) == Confidence::Unsure {
        finding.confidence = Confidence::Unsure;
    }
    // A file without a name is nowhere to be found.
    let known = |object| case.session.objects.get(object);
    let are = |is: fn(&Object) -> bool| objects.iter().all(|object| known(object).is_some_and(is));
    let is_gone = are(|known| known.is_removed() || known.is_missing());
    let is_nameless = are(|known| known.is_removed() && known.deleted);
    finding.advice = Some(match reader {
        Some(by) if is_gone => {
            format!("{by} received every byte: if output is missing, look in it.")
        }
        None if is_nameless => {
            "Look at what has it open: only that can read a file without a name.".to_owned()
        }
        None if is_gone => "Show the file before it is removed, or keep it.".to_owned(),
        _ => "Look there for its output.".to_owned(),
    });
    let finding = evidence::with(finding, "objects", json!(places));
    vec![evidence::with(finding, "only", json!(is_only))]
}

/// An object, whether a file's path still leads to it, and what a file has that was written anew.
fn place(case: &Case<'_>, object: &ObjectId) -> String {
    let name = case.session.object_name(object);
    let now = file_lost::size_if_rewritten(case, object);
    let name = now.map_or(name.clone(), |now| {
        let anew = if file_lost::was_cut(case, object) { "was written anew and " } else { "" };
        format!("{name}, which {anew}has {} now", units::exact(now))
    });
    match case.session.objects.get(object) {
        Some(known) if !known.renamed.is_empty() && known.deleted => {
            format!("{} (made without a name)", known.renamed)
        }
        Some(known) if !known.renamed.is_empty() => format!("{name} (now {})", known.renamed),
        Some(known) if known.deleted && known.is_removed() => {
            format!("{name} (a file without a name{})", unread(case, object))
        }
        Some(known) if known.now == Some(FileNow::Replaced) => {
            match file_lost::remover(case, object) {
                Some(by) => {
                    format!("{name} (replaced by {}{})", words::called(by), unread(case, object))
                }
                None => format!("{name} (another file has that name now{})", unread(case, object)),
            }
        }
        Some(known) if known.now == Some(FileNow::NotVisible) => {
            format!("{name} (not visible from here: another root or mount namespace)")
        }
        Some(known) if known.is_missing() => match file_lost::remover(case, object) {
            Some(by) => {
                format!(
                    "{name} (removed, probably by {}{})",
                    words::called(by),
                    unread(case, object)
                )
            }
            None => format!("{name} (no longer at that path{})", unread(case, object)),
        },
        _ if case.is_one_ended(object) => format!("{name}, whose other end tracer did not see"),
        _ => name,
    }
}

/// `, read by no process`: what a removed file has is gone then.
fn unread(case: &Case<'_>, object: &ObjectId) -> &'static str {
    if case.flows.get(object).read == 0 { ", read by no process" } else { "" }
}

/// The readers of the only object, if they read all of it.
fn readers(case: &Case<'_>, objects: &BTreeSet<ObjectId>) -> Option<String> {
    let flow = case.flows.get(objects.first()?);
    let is_read = objects.len() == 1 && flow.read >= flow.written;
    flow.readers_in_words().filter(|_| is_read)
}

/// What the only reader of the only object passed on of it, if that is less.
fn passed_on(case: &Case<'_>, objects: &BTreeSet<ObjectId>) -> Option<String> {
    let object = objects.first().filter(|_| objects.len() == 1)?;
    let flow = case.flows.get(object);
    let mut readers = flow.readers.iter().filter(|reader| reader.bytes > 0);
    let reader = readers.next().filter(|reader| reader.bytes >= flow.written)?;
    let is_only = readers.next().is_none();
    // What is in a file with a name can be had there.
    let is_gone =
        case.session.object_kind(object) != Kind::File || file_lost::is_removed(case, object);
    let peer = case.session.peer(object);
    (is_only && is_gone).then(|| case.passed_on(reader.process, &[peer], flow.written))?
}
