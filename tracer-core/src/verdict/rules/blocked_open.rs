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
    let opening = case.session.blocked.iter().filter(|thread| thread.call == BlockedCall::Open);
    let of_targets = opening.filter_map(|thread| {
        let process = case.session.processes.get(&thread.process)?;
        process.is_target.then(|| describe(process, thread))
    });
    of_targets.collect()
}

fn describe(process: &Process, thread: &BlockedThread) -> Finding {
    let what = match (thread.path.as_str(), thread.opens_fifo) {
        ("", _) => "a file, and the call does not return".to_owned(),
        (path, true) => format!("the FIFO {} for writing: no process reads it", text::name(path)),
        (path, false) => format!("{}, and the call does not return", text::name(path)),
    };
    let message = format!(
        "{} has written nothing yet: it is blocked opening {what}. Still running.",
        words::called(process)
    );
    let mut finding = evidence::of_process(process, Rule::BlockedOpen, Severity::Warning, message);
    // The sleeping call was seen.
    finding.confidence = Confidence::Certain;
    finding.advice = Some(if thread.opens_fifo {
        "Start the program that reads the FIFO.".into()
    } else {
        "Look at what the path leads to: a FIFO, a device, or a file system that does not answer."
            .into()
    });
    evidence::with(finding, "path", json!(thread.path))
}
