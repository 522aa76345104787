//! A container engine read the output of a container, and its log file has fewer bytes.

use serde_json::{Map, json};
use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
};

use super::super::Case;
use crate::{
    event::LogTally,
    session::{Object, named},
    text::units,
    verdict::{Confidence, Finding, Rule, Severity},
};

/// After this time without a read, all output is in the log.
const RESTED_NS: u64 = 1_000_000_000;
/// Number of characters of a container's id in a sentence.
const SHORT_ID: usize = 12;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    case.session.objects.values().filter_map(|log| of_log(case, log, log.log?)).collect()
}

fn of_log(case: &Case<'_>, log: &Object, tally: LogTally) -> Option<Finding> {
    let id = container(&log.path)?;
    let keys = case.session.ledger.keys();
    let logger = keys.clone().find(|key| key.object == log.id && key.direction == WRITE)?.process;
    if is_rotated(case, log, id) || !has_settled(case, logger, id) {
        return None;
    }
    let read = read_of(case, logger, id);
    let held = tally.stdout + tally.stderr;
    let lost = read.checked_sub(held).filter(|lost| *lost > 0)?;
    let comm = case.session.processes.get(&logger).map_or("", |process| process.comm.as_str());
    let mut evidence = Map::new();
    for (name, value) in [
        ("read", json!(read)),
        ("handed_out", json!(held)),
        ("lost", json!(lost)),
        ("lines", json!(tally.lines)),
        ("source", json!(log.path)),
        ("comm", json!(comm)),
    ] {
        evidence.insert(name.into(), value);
    }
    let complete = !case.has_losses();
    Some(Finding {
        rule: Rule::ReadThenLost,
        severity: Severity::Loss,
        confidence: if complete { Confidence::Certain } else { Confidence::Unsure },
        pid: logger.tgid,
        fd: None,
        message: format!(
            "{} read {} of container {}'s output and its log file has {}: {} were lost in {comm}.",
            named(comm, logger),
            units::exact(read),
            id.chars().take(SHORT_ID).collect::<String>(),
            units::exact(held),
            units::exact(lost)
        ),
        advice: Some(
            "The log driver drops when its buffer is full: set `--log-opt mode=blocking`, or a larger \
             `max-buffer-size`."
                .into(),
        ),
        evidence,
    })
}

/// The id in `…/containers/ID/ID-json.log`.
fn container(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    name.strip_suffix("-json.log").filter(|id| id.len() >= SHORT_ID)
}

/// Whether the container has another log file as well, so that no file has everything.
fn is_rotated(case: &Case<'_>, log: &Object, id: &str) -> bool {
    let mut objects = case.session.objects.values();
    objects.any(|other| {
        other.id != log.id && other.path.contains("-json.log") && container_of(&other.path) == id
    })
}

/// The id of the container, which is the name of the directory of its log file.
fn container_of(path: &str) -> &str {
    path.rsplit('/').nth(1).unwrap_or_default()
}

/// Whether the output of the container has ended or paused; a partial line is logged later.
fn has_settled(case: &Case<'_>, reader: ProcessId, id: &str) -> bool {
    let stdio = |object: &Object| object.kind.is_pipe() && object.path.contains(id);
    let objects = || case.session.objects.values().filter(|object| stdio(object));
    let is_closed = objects().all(|object| case.session.holders(&object.id).count() == 0);
    let last_ns = case
        .session
        .rows_of(reader, READ)
        .filter(|(key, _)| objects().any(|object| object.id == key.object))
        .map(|(_, row)| row.last_ns)
        .max();
    is_closed || last_ns.is_some_and(|last| case.session.end_ns.saturating_sub(last) > RESTED_NS)
}

/// Bytes that a process read from objects whose path has the id of the container: its stdio FIFOs.
fn read_of(case: &Case<'_>, reader: ProcessId, id: &str) -> u64 {
    case.session
        .rows_of(reader, READ)
        .filter(|(key, _)| {
            let object = case.session.objects.get(&key.object);
            object.is_some_and(|object| object.kind.is_pipe() && object.path.contains(id))
        })
        .map(|(_, row)| row.bytes)
        .sum()
}
