//! Two processes read from the same stream, so each has only a part.

use std::collections::BTreeSet;

use serde_json::json;
use tracer_common::{id::ProcessId, ledger::READ};

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::{Endpoint, named},
    text::{list, units},
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .distinct_streams()
        .into_iter()
        .filter(|stream| stream.kind.is_pipe())
        .filter_map(|stream| {
            let flow = case.flows.get(&stream.object);
            let mut readers: Vec<&Endpoint> = flow
                .readers
                .iter()
                .filter(|endpoint| {
                    endpoint.bytes > 0 && !subject.members.contains(&endpoint.process)
                })
                .collect();
            // The parent first, if it reads: it is the manager. Else the one that started the others.
            let all: BTreeSet<ProcessId> =
                readers.iter().map(|endpoint| endpoint.process).collect();
            readers.sort_by_cached_key(|endpoint| {
                let is_started = case.is_started_by_any(endpoint.process, &all);
                (endpoint.process != subject.process.parent, is_started)
            });
            match readers.split_first() {
                Some((main, others)) if !others.is_empty() => {
                    Some(describe(case, subject, stream, main, others))
                }
                _ => None,
            }
        })
        .collect()
}

/// Whether a reader read on and found the end after a process that it started had read: a program in the body of
/// `while read` takes the rest of the list. `(read line; cat)` does not read on.
fn wanted_more(case: &Case<'_>, stream: &Stream, main: &Endpoint, other: &Endpoint) -> bool {
    let source = case.session.peer(&stream.object);
    let mut rows = case.session.rows_of(main.process, READ);
    case.is_started_by_any(other.process, &BTreeSet::from([main.process]))
        && rows
            .any(|(key, row)| key.object == source && row.zero > 0 && row.last_ns > other.last_ns)
}

fn describe(
    case: &Case<'_>,
    subject: &Subject<'_>,
    stream: &Stream,
    main: &Endpoint,
    others: &[&Endpoint],
) -> Finding {
    let taken: u64 = others.iter().map(|endpoint| endpoint.bytes).sum();
    let name = |endpoint: &Endpoint| named(&endpoint.comm, endpoint.process);
    let names = list(others.iter().map(|endpoint| name(endpoint)), ", ");
    let message = format!(
        "{} of what {} wrote to {} were taken by {}, and {} by {}: {} has all.",
        units::exact(taken),
        words::writer(subject, stream),
        stream.name(),
        names,
        units::exact(main.bytes),
        name(main),
        if others.len() == 1 { "neither" } else { "none of them" }
    );
    // Commands of one stage of a pipeline share it on purpose: `| (read line; cat)`.
    let is_beside = |endpoint: &Endpoint| case.is_beside(subject, endpoint.process);
    let by_design = is_beside(main) && others.iter().all(|endpoint| is_beside(endpoint));
    let severity = match by_design {
        _ if others.iter().any(|other| wanted_more(case, stream, main, other)) => Severity::Loss,
        true => Severity::Info,
        false => Severity::Warning,
    };
    let finding = evidence::finding(case, subject, Rule::ReadByOther, severity, message);
    let mut finding = evidence::with_stream(finding, case, stream);
    finding.advice =
        Some("Give each reader a pipe of its own, or let one read and copy (tee).".into());
    let endpoint = |endpoint: &&Endpoint| json!({"pid": endpoint.process.tgid, "comm": endpoint.comm, "bytes": endpoint.bytes});
    let others: Vec<_> = others.iter().map(endpoint).collect();
    evidence::with(finding, "others", json!(others))
}
