//! The program checked for a terminal, found none, and wrote all the same. It may have written less, or in another
//! form.

use serde_json::json;

use super::super::{Case, Subject, evidence, words};
use crate::{
    text::{list, units},
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let asked: Vec<&str> = subject
        .streams()
        .into_iter()
        .filter(|stream| subject.was_refused_a_terminal(stream.fd))
        .map(super::super::Stream::name)
        .collect();
    if asked.is_empty() || subject.bytes() == 0 {
        return Vec::new();
    }
    let set = environment(subject);
    let because =
        if set.is_empty() { String::new() } else { format!(" Its environment has {set}.") };
    let message = format!(
        "{} asked whether {} {} a terminal and was told no; it wrote {} to stdout and {} to stderr.{because}",
        words::who(subject),
        asked.join(" and "),
        if asked.len() == 1 { "is" } else { "are" },
        units::exact(subject.stdout.row.bytes),
        units::exact(subject.stderr.row.bytes)
    );
    let mut finding = evidence::finding(case, subject, Rule::NoTerminal, Severity::Info, message);
    finding.advice = Some(
        "Programs leave out progress and colours without a terminal: `tracer --pty -- COMMAND` shows \
         whether one changes it."
            .into(),
    );
    let finding = evidence::with(finding, "asked", json!(asked));
    vec![evidence::with(finding, "wrote", json!(subject.stdout.row.bytes))]
}

/// `TERM=dumb, NO_COLOR=1`
fn environment(subject: &Subject<'_>) -> String {
    let set = subject.process.environment.iter().flat_map(|set| set.iter());
    list(set.map(|(name, value)| format!("{name}={value}")), ", ")
}
