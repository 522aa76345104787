//! tracer wanted to look at something beside its counts, and got no answer in time. The counts are not concerned.

use serde_json::{Map, json};

use super::super::Case;
use crate::{
    event::{Look, NotSeen},
    session::Session,
    text::units,
    verdict::{Confidence, Finding, Rule, Severity},
};

/// Number of processes or files of one kind that the sentence names; further ones are counted.
const NAMED: usize = 3;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let session = case.session;
    let mut evidence = Map::new();
    let mut parts = Vec::new();
    for (look, name, what) in [
        (Look::Process, "process", "arguments and environment of"),
        (Look::Threads, "threads", "the calls in which threads were blocked of"),
        (Look::File, "file", "size and name at the end of"),
        (Look::Log, "log", "the content of the log"),
    ] {
        let unseen = || session.not_seen.iter().filter(move |unseen| unseen.look == look);
        let looks = unseen().map(|unseen| unseen.looks.max(1)).fold(0, u64::saturating_add);
        if looks > 0 {
            let known = unseen().filter_map(|unseen| name_of(session, unseen)).take(NAMED);
            parts.push(format!("{what} {}", list(&known.collect::<Vec<_>>(), looks)));
            evidence.insert(name.to_owned(), json!(looks));
        }
    }
    let unread = session.logs_read.iter().filter(|log| log.unread > 0);
    for log in unread.clone().take(NAMED) {
        parts.push(format!("{} of the worker log {}", units::bytes(log.unread), log.name));
    }
    let logs = unread.count();
    if logs > 0 {
        evidence.insert("worker_log".to_owned(), json!(logs));
    }
    if parts.is_empty() { Vec::new() } else { vec![finding(&parts, evidence)] }
}

fn name_of(session: &Session, unseen: &NotSeen) -> Option<String> {
    match &unseen.object {
        Some(object) => Some(session.object_name(object)),
        None => session.processes.get(&unseen.process).map(|process| process.short()),
    }
}

/// `a, b and 7 more`.
fn list(names: &[String], all: u64) -> String {
    let more = all.saturating_sub(names.len() as u64);
    match (names.is_empty(), more) {
        (true, _) => format!("{} of them", units::grouped(all)),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {} more", names.join(", "), units::grouped(more)),
    }
}

fn finding(parts: &[String], evidence: Map<String, serde_json::Value>) -> Finding {
    Finding {
        rule: Rule::NotSeen,
        severity: Severity::Info,
        confidence: Confidence::Certain,
        pid: 0,
        start_ns: 0,
        fd: None,
        message: format!("not seen: {}: no answer in time.", parts.join("; ")),
        advice: Some(
            "A file system, a disk or the memory of a process stands still, or there was too much to look at. \
             The counts are not concerned."
                .to_owned(),
        ),
        evidence,
    }
}
