//! The program could not connect to the daemon that does its work, such as docker's.

use serde_json::json;

use super::super::{Case, Subject, evidence, words};
use crate::{
    session::{Fact, FactKind, Process},
    text::{self, errno},
    verdict::{Finding, Rule, Severity},
};

/// Sockets that libraries try at every start and do not need.
/// The last one is that of a gVisor sandbox: `runsc` tries it until the sandbox has started.
const OF_LIBRARIES: [&str; 4] = ["nscd", "/run/systemd/", "sssd", "@runsc-sandbox."];

/// Whether only libraries connect to this address.
pub(super) fn is_of_libraries(address: &str) -> bool {
    OF_LIBRARIES.iter().any(|optional| address.contains(optional))
}

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    // A program that moved no byte at all did nothing but this.
    let did_nothing =
        |process: &Process| process.executed && case.session.written_anywhere(process) == Some(0);
    let parent = case.session.processes.get(&subject.process.parent);
    let is_root = parent.is_none_or(|parent| !parent.is_target);
    let is_silent = is_root && subject.members.len() == 1 && did_nothing(subject.process);
    if subject.process.exit_code() == Some(0) && !is_silent {
        return Vec::new();
    }
    let failed = subject
        .members
        .iter()
        .filter_map(|member| case.session.processes.get(member))
        .flat_map(|process| process.facts.iter().map(move |fact| (process, fact)))
        .filter(|(_, fact)| fact.kind == FactKind::ConnectFailed)
        .filter(|(_, fact)| !is_probe(fact))
        .rfind(|(_, fact)| {
            is_silent || !is_of_libraries(&fact.about) && !fact.about.contains("/dev/log")
        });
    let Some((process, fact)) = failed else { return Vec::new() };
    let error = errno::name(fact.errno);
    let message = format!(
        "{} could not connect to {}: {error} ({}).",
        process.short(),
        text::name(&fact.about),
        errno::meaning(fact.errno)
    );
    // A program that did nothing else had something to send.
    let is_lost = is_silent && fact.about.starts_with("unix:");
    let severity = if is_lost { Severity::Loss } else { Severity::Warning };
    let mut finding = evidence::finding(case, subject, Rule::DaemonUnreachable, severity, message);
    finding.advice = Some(format!(
        "Start what listens there, or correct the address that {} uses.",
        words::who(subject)
    ));
    let finding = evidence::with(finding, "address", json!(fact.about));
    vec![evidence::with(finding, "error", json!(error))]
}

/// Resolvers try each address with a connect that sends nothing, to exclude families without a route (RFC 6724).
fn is_probe(fact: &Fact) -> bool {
    let no_route = [errno::ENETUNREACH, errno::EADDRNOTAVAIL, errno::EAFNOSUPPORT];
    fact.about.starts_with('[') && no_route.contains(&fact.errno)
}
