//! A process sleeps while it opens a FIFO that no process reads, so it has not even begun.

use serde_json::json;

use super::super::{Case, evidence, words};
use crate::{
    event::{BlockedCall, BlockedThread},
    session::Process,
    text,
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    opening(case).map(|(process, thread)| describe(process, thread)).collect()
}

/// The threads of targets that sleep while they open a FIFO. Other opens take their time as well.
pub(in crate::verdict) fn opening<'a>(
    case: &Case<'a>,
) -> impl Iterator<Item = (&'a Process, &'a BlockedThread)> {
    let session = case.session;
    let blocked = session.blocked.iter();
    let opening = blocked.filter(|thread| thread.call == BlockedCall::Open && thread.opens_fifo);
    opening.filter_map(|thread| {
        let process = session.processes.get(&thread.process)?;
        process.is_target.then_some((process, thread))
    })
}

fn describe(process: &Process, thread: &BlockedThread) -> Finding {
    let message = format!(
        "{} is blocked opening the FIFO {} for writing: no process reads it. Still running.",
        words::called(process),
        text::name(&thread.path)
    );
    let mut finding = evidence::of_process(process, Rule::BlockedOpen, Severity::Warning, message);
    // The sleeping call was seen.
    finding.confidence = Confidence::Certain;
    finding.advice = Some("Start the program that reads the FIFO.".into());
    evidence::with(finding, "path", json!(thread.path))
}
