//! A container engine read the output of a container, and its log file has fewer bytes.

use serde_json::{Map, json};
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerRow, READ, WRITE},
};

use super::super::Case;
use crate::{
    event::LogTally,
    session::{Object, named},
    text::{self, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

/// After this time without a read, all output is in the log.
const RESTED_NS: u64 = 1_000_000_000;
/// Number of characters of a container's id in a sentence.
const SHORT_ID: usize = 12;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let objects = case.session.objects.values();
    objects.filter_map(|log| of_log(case, log, log.log.as_ref()?)).collect()
}

fn of_log(case: &Case<'_>, log: &Object, tally: &LogTally) -> Option<Finding> {
    let (logger, id) = (tally.engine, tally.container.as_str());
    // A session of an older version does not say which process is the engine.
    let is_proven = logger != ProcessId::default() && id.len() >= SHORT_ID;
    if !is_proven || is_rotated(case, log, logger) || !has_settled(case, logger, id) {
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
        start_ns: logger.start_ns,
        fd: None,
        message: format!(
            "{} read {} of container {}'s output and its log file has {}: {} were lost in {}.",
            named(comm, logger),
            units::exact(read),
            id.chars().take(SHORT_ID).collect::<String>(),
            units::exact(held),
            units::exact(lost),
            text::name(comm)
        ),
        advice: Some(
            "The log driver drops when its buffer is full: set `--log-opt mode=blocking`, or a larger \
             `max-buffer-size`."
                .into(),
        ),
        evidence,
    })
}

/// Whether the engine wrote to another file in the log's directory, so that no file has everything.
fn is_rotated(case: &Case<'_>, log: &Object, logger: ProcessId) -> bool {
    let directory = |path: &str| path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
    let of_log = directory(&log.path);
    case.session.rows_of(logger, WRITE).any(|(key, _)| {
        let other = case.session.objects.get(&key.object).filter(|other| other.id != log.id);
        other.is_some_and(|other| {
            other.path.contains("-json.log") && directory(&other.path) == of_log
        })
    })
}

/// The pipes of the container's first process that the engine read, with their rows. Only the engine chooses these
/// paths: the name of the pipe is `init-stdout` or `ID-stdout`, and that of a command of `docker exec`, whose output
/// is not in the log, has another beginning.
fn stdio<'a>(
    case: &'a Case<'_>,
    reader: ProcessId,
    id: &'a str,
) -> impl Iterator<Item = (&'a Object, &'a LedgerRow)> {
    case.session.rows_of(reader, READ).filter_map(move |(key, row)| {
        let object = case.session.objects.get(&key.object)?;
        let (directory, name) = object.path.rsplit_once('/')?;
        let is_first = name.starts_with(id) || name.starts_with("init-") && directory.ends_with(id);
        (object.kind.is_pipe() && is_first).then_some((object, row))
    })
}

/// Whether the output of the container has ended or paused; a partial line is logged later.
fn has_settled(case: &Case<'_>, reader: ProcessId, id: &str) -> bool {
    let mut pipes = stdio(case, reader, id);
    let is_closed = pipes.all(|(object, _)| case.session.holders(&object.id).count() == 0);
    let last_ns = stdio(case, reader, id).map(|(_, row)| row.last_ns).max();
    is_closed || last_ns.is_some_and(|last| case.session.end_ns.saturating_sub(last) > RESTED_NS)
}

/// Bytes that the engine read from the container's first process.
fn read_of(case: &Case<'_>, reader: ProcessId, id: &str) -> u64 {
    stdio(case, reader, id).map(|(_, row)| row.bytes).sum()
}
