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
    finding.advice = Some(match subject.process.exit_code() {
        Some(0) => "It reports its progress on stderr: read that stream as well as stdout.".into(),
        Some(_) => "The error message is on stderr: read that stream as well as stdout.".into(),
        None => "All of its output is on stderr: look there.".into(),
    });
    vec![finding]
}
