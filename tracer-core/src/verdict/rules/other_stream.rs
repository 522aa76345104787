//! All output went to stderr, so a reader of stdout alone gets nothing.

use super::super::{Case, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let stderr = &subject.stderr;
    // `discarded` reports a stderr that is /dev/null.
    if !subject.wrote_only_to_stderr() || stderr.kind == Kind::Null {
        return Vec::new();
    }
    let message = format!(
        "{} wrote only to stderr: {}, {}{}; nothing to stdout.{}",
        words::who(subject),
        units::exact(stderr.row.bytes),
        words::fate(case, stderr),
        words::reach(case, subject),
        words::ending(subject)
    );
    let failed = subject.process.exit_code().is_some_and(|code| code != 0);
    let severity = if failed { Severity::Warning } else { Severity::Info };
    let finding = evidence::finding(case, subject, Rule::OtherStream, severity, message);
    let mut finding = evidence::with_stream(finding, case, stderr);
    finding.advice = Some(advice(case, subject));
    vec![finding]
}

/// Who has its stderr, or that it is to be read.
fn advice(case: &Case<'_>, subject: &Subject<'_>) -> String {
    let stderr = &subject.stderr;
    let what = match subject.process.exit_code() {
        Some(0) => "It reports its progress on stderr",
        Some(_) => "The error message is on stderr",
        None => return "All of its output is on stderr: look there.".to_owned(),
    };
    let readers = case.flows.get(&stderr.object).readers_in_words();
    match readers.filter(|_| !case.is_shown_by_tracer(&stderr.object)) {
        Some(reader) => format!("{what}, which {reader} read: look at what it does with that."),
        None => format!("{what}: read that stream as well as stdout."),
    }
}
