//! The command and its descendants wrote no byte to stdout or stderr, and did not try to.

use serde_json::json;

use super::super::{Case, Subject, evidence, words};
use crate::{
    text::units,
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    if subject.attempts() > 0 || !subject.redirected.is_empty() {
        return Vec::new();
    }
    let who = words::who(subject);
    let running = subject.process.end_ns.is_none();
    let message = match (case.confidence(subject), running) {
        (Confidence::Certain, false) => format!(
            "{who} wrote nothing: no byte and no attempt on stdout or stderr, from its first \
             instruction to its end.{}",
            words::ending(subject)
        ),
        (Confidence::Certain, true) => format!("{who} has written nothing so far, and still runs."),
        (Confidence::Unsure, _) if subject.process.attached_late => format!(
            "{who} wrote nothing to stdout or stderr while tracer watched; what it did before is \
             not known.{}",
            words::ending(subject)
        ),
        (Confidence::Unsure, _) => format!(
            "{who} was seen writing nothing to stdout or stderr, but tracer did not see \
             everything.{}",
            words::ending(subject)
        ),
    };
    let mut finding =
        evidence::finding(case, subject, Rule::NeverWrote, Severity::Warning, message);
    finding.advice = Some(advice(case, subject));
    finding =
        evidence::with(finding, "stdout", json!(case.session.object_name(&subject.stdout.object)));
    finding =
        evidence::with(finding, "stderr", json!(case.session.object_name(&subject.stderr.object)));
    let asked = subject.was_refused_a_terminal(1) || subject.was_refused_a_terminal(2);
    vec![evidence::with(finding, "asked_for_terminal", json!(asked))]
}

/// The likeliest reason.
fn advice(case: &Case<'_>, subject: &Subject<'_>) -> String {
    let process = subject.process;
    let stdout = words::destination(case, &subject.stdout);
    let where_to = match words::destination(case, &subject.stderr) {
        stderr if stderr == stdout => format!("Its output would have gone to {stdout}."),
        stderr => format!("Its output would have gone to {stdout} and {stderr}."),
    };
    let elsewhere: u64 = subject
        .members
        .iter()
        .filter_map(|member| case.session.processes.get(member)?.other_bytes)
        .sum();
    let hint = if elsewhere > 0 {
        format!(
            "It wrote {} through other fds: run again with --all-fds to see where.",
            units::exact(elsewhere)
        )
    } else if process.signal().is_some() {
        "It was killed: whatever it still kept in a buffer is gone.".to_owned()
    } else if subject.was_refused_a_terminal(1) || subject.was_refused_a_terminal(2) {
        "It asked for a terminal and was told there is none; it may stay silent or keep its output \
         in a buffer because of that. Try `tracer --pty -- COMMAND`."
            .to_owned()
    } else if process.exit_code().is_some_and(|code| code != 0) {
        "It failed without a word: look at its exit code.".to_owned()
    } else if process.end_ns.is_none() {
        "It may be at work, wait for something, or keep its output in a buffer: trace for longer, and \
         look at what it does."
            .to_owned()
    } else {
        "There was nothing to receive: look at what the command is meant to print, and when."
            .to_owned()
    };
    format!("{hint} {where_to}")
}
