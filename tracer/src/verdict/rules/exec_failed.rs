//! The command never started: `execve` failed and the process ended without an image of its own.

use serde_json::json;

use super::super::{Case, Subject, evidence};
use crate::{
    errno,
    report::{Finding, Severity},
    session::FactKind,
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let process = subject.process;
    if process.executed || process.end_ns.is_none() {
        return Vec::new();
    }
    let failed = process.facts.iter().rev().find(|fact| fact.kind == FactKind::ExecFailed);
    let Some(fact) = failed else { return Vec::new() };
    let error = errno::name(fact.errno);
    let message = format!(
        "The command never started: pid {} could not execute {}: {error} ({}).",
        process.id.tgid,
        fact.about,
        errno::meaning(fact.errno)
    );
    let mut finding = evidence::finding(case, subject, "exec_failed", Severity::Warning, message);
    finding.advice = Some(match fact.errno {
        errno::ENOENT => "Check the path, and PATH as the manager sees it.".into(),
        errno::EACCES => "Check the file's execute permission and its mount's noexec.".into(),
        _ => "Check that the file is a program for this machine.".into(),
    });
    let finding = evidence::with(finding, "path", json!(fact.about));
    vec![evidence::with(finding, "error", json!(error))]
}
