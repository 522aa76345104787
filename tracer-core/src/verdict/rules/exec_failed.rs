//! The command never started: `execve` failed, and the process ended without an image of its own.

use serde_json::json;

use super::{
    super::{Case, Subject, evidence, words},
    delivered::is_delivered,
};
use crate::{
    session::{Fact, FactKind, Process},
    text::{self, errno},
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let own = subject.process;
    // A command that wrote nothing, or that ends with this exit code, does so because of one that it could not start.
    let is_silent = subject.attempts() == 0
        && subject.redirected.is_empty()
        && case.inner.iter().all(|inner| inner.bytes() == 0);
    if own.end_ns.is_none() || own.executed && !has_given_up(own) && !is_silent {
        return Vec::new();
    }
    let members = subject.members.iter().filter_map(|member| case.session.processes.get(member));
    let others = members.filter(|member| !member.executed && member.end_ns.is_some());
    let own_failure = (!own.executed || has_given_up(own)).then_some(own);
    let failed = own_failure
        .into_iter()
        .chain(others)
        .find_map(|process| decisive_failure(process).map(|fact| (process, fact)));
    let Some((process, fact)) = failed else { return Vec::new() };
    let who = if process.executed || process.id != own.id {
        words::called(process)
    } else {
        format!("The command never started: pid {}", process.id.tgid)
    };
    let starter = case.session.processes.get(&process.parent).map(Process::short);
    let starter = starter.filter(|_| !process.executed && process.id == own.id);
    let starter = starter.map_or(String::new(), |starter| format!(", started by {starter},"));
    let error = errno::name(fact.errno);
    let mut message = format!(
        "{who}{starter} could not execute {}: {error} ({}).",
        text::name(&fact.about),
        errno::meaning(fact.errno)
    );
    // Its starter may have said so.
    let is_told = subject.wrote_only_to_stderr() && is_delivered(case, &subject.stderr);
    if is_told {
        let fate = words::fate(case, &subject.stderr);
        message.push_str(&format!(" The message about it went to stderr, {fate}."));
    }
    let mut finding =
        evidence::finding(case, subject, Rule::ExecFailed, Severity::Warning, message);
    finding.advice = Some(match fact.errno {
        errno::ENOENT => "Check the path, PATH as its starter sees it, and of a script the \
                          interpreter in its first line."
            .into(),
        errno::EACCES => "Check the file's execute permission and its mount's noexec.".into(),
        _ => "Check that the file is a program for this machine.".into(),
    });
    let finding = evidence::with(finding, "told", json!(is_told));
    let finding = evidence::with(finding, "path", json!(fact.about));
    vec![evidence::with(finding, "error", json!(error))]
}

/// Exit codes of a shell that could not execute its last command (`sh(1p)`).
const NOT_EXECUTED: [Option<u32>; 2] = [Some(126), Some(127)];

/// Whether a shell ended because its last command did not start: `sh -c 'exec /no/such'`.
fn has_given_up(process: &Process) -> bool {
    NOT_EXECUTED.contains(&process.exit_code())
}

/// The failure to report. A search along `PATH` continues after a file without execute permission, so its last
/// failure is often `ENOENT` (`execvp(3)`); another error is decisive.
fn decisive_failure(process: &Process) -> Option<&Fact> {
    // A call that was emulated is a guest's, and fails on this kernel by intent.
    if process.facts.iter().any(|fact| fact.kind == FactKind::Emulated) {
        return None;
    }
    let failed = || process.facts.iter().rev().filter(|fact| fact.kind == FactKind::ExecFailed);
    let found = failed().find(|fact| !matches!(fact.errno, errno::ENOENT | errno::ENOTDIR));
    found.or_else(|| failed().next())
}
