//! Files that a relay opened itself: a log that a manager keeps, and that is not there any more.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, READ},
    object::ObjectId,
};

use super::{Loss, WHILE_WRITTEN, loss, removed::removed_while_written, told};
use crate::{
    session::{Kind, Object, Process},
    text::units,
    verdict::{Case, Finding, Scope, Stream, Subject, words},
};

/// Losses in files into which a process wrote exactly as many bytes as it had read from commands. What a relay writes
/// besides, such as a file with its state, it may write anew as often as it likes.
pub(in crate::verdict::rules) fn find(case: &Case<'_>) -> Vec<Finding> {
    let told: BTreeSet<ObjectId> = case
        .subjects
        .iter()
        .chain(&case.inner)
        .flat_map(|subject| {
            let redirected = subject.all_redirected().map(|(object, _)| *object);
            redirected.chain(subject.streams().map(|stream| stream.object))
        })
        .collect();
    let files = case.session.objects.values().filter(|object| {
        // A file that never had a name was meant to go.
        object.kind == Kind::File && !object.deleted && !told.contains(&object.id)
    });
    files.filter_map(|file| in_file(case, file)).collect()
}

fn in_file(case: &Case<'_>, file: &Object) -> Option<Finding> {
    let [writer] = case.flows.get(&file.id).writers.as_slice() else { return None };
    let relay = case.session.processes.get(&writer.process)?;
    let from = source(case, relay, writer.bytes)?;
    let (key, row) = case.writes_to(&file.id).next()?;
    let row = LedgerRow { bytes: writer.bytes, ..*row };
    let stream = Stream { fd: key.fd, object: file.id, kind: Kind::File, row };
    let loss = loss(case, &stream).or_else(|| removed_while_written(case, file))?;
    let members = BTreeSet::from([relay.id]);
    let streams = [stream.clone(), Stream { fd: 2, ..Stream::default() }];
    let subject = Subject { scope: Scope::Redirected, ..Subject::new(relay, members, streams) };
    let lead = format!(
        "{} wrote {} that it had read from {from}",
        words::who(&subject),
        units::exact(writer.bytes)
    );
    let mut finding = told(case, &subject, (&stream, loss), &lead);
    if matches!(loss, Loss::Removed(_)) {
        finding.advice = Some(WHILE_WRITTEN.to_owned());
    }
    Some(finding)
}

/// The command of which a process read exactly so many bytes: from one stream, from both, or from all commands together.
fn source(case: &Case<'_>, relay: &Process, bytes: u64) -> Option<String> {
    let mut by_writer: BTreeMap<ProcessId, Vec<u64>> = BTreeMap::new();
    for (key, row) in case.session.rows_of(relay.id, READ).filter(|(_, row)| row.bytes > 0) {
        let flow = case.flows.get(&case.session.peer(&key.object));
        let writer = flow.writers.iter().find(|writer| writer.process != relay.id);
        if let Some(writer) = writer.filter(|_| case.session.object_kind(&key.object).passes_on()) {
            by_writer.entry(writer.process).or_default().push(row.bytes);
        }
    }
    let sum = |reads: &Vec<u64>| reads.iter().sum::<u64>();
    let name = |process: &ProcessId| case.session.processes.get(process).map(Process::short);
    let exact = by_writer.iter().find(|(_, reads)| reads.contains(&bytes) || sum(reads) == bytes);
    if let Some((writer, _)) = exact {
        return name(writer);
    }
    let all: u64 = by_writer.values().map(sum).sum();
    (all == bytes).then(|| format!("{} commands", by_writer.len()))
}
