//! A container engine read a container's output, and its log file has less.

use serde_json::{Map, json};
use tracer_common::{
    id::ProcessId,
    ledger::{READ, WRITE},
};

use super::super::{Case, words};
use crate::{
    event::LogTally,
    report::{Confidence, Finding, Severity},
    session::Object,
};

/// Characters of a container's id in a sentence.
const SHORT_ID: usize = 12;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    case.session.objects.values().filter_map(|log| of_log(case, log, log.log?)).collect()
}

fn of_log(case: &Case<'_>, log: &Object, tally: LogTally) -> Option<Finding> {
    let id = container(&log.path)?;
    let keys = case.session.ledger.keys();
    let logger = keys.clone().find(|key| key.object == log.id && key.direction == WRITE)?.process;
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
    let complete = case.session.losses.is_empty();
    Some(Finding {
        rule: "read_then_lost".into(),
        severity: Severity::Loss,
        confidence: if complete { Confidence::Certain } else { Confidence::Unsure },
        pid: logger.tgid,
        fd: None,
        message: format!(
            "{comm} (pid {}) read {} of container {}'s output and its log file has {}: {} were lost \
             in {comm}.",
            logger.tgid,
            words::bytes(read),
            id.chars().take(SHORT_ID).collect::<String>(),
            words::bytes(held),
            words::bytes(lost)
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

/// What a process read out of objects whose path names the container: its stdio FIFOs.
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
