//! All output went to stderr, so a reader of stdout alone gets nothing.

use super::super::{Case, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let (stdout, stderr) = (&subject.stdout, &subject.stderr);
    let separate = stdout.object != stderr.object;
    // `refused` reports failed writes to stdout; then the program did not choose stderr.
    let was_refused = stdout.row.errors.iter().any(|count| *count > 0);
    if was_refused
        || stdout.row.bytes > 0
        || stderr.row.bytes == 0
        || !separate
        || stdout.kind == Kind::Closed
    {
        return Vec::new();
    }
    let message = format!(
        "{} wrote nothing to stdout and {} to stderr, {}{}.{}",
        words::who(subject),
        units::exact(stderr.row.bytes),
        words::fate(case, stderr),
        words::reach(case, subject),
        words::ending(subject)
    );
    let finding = evidence::finding(case, subject, Rule::OtherStream, Severity::Warning, message);
    let mut finding = evidence::with_stream(finding, case, stderr);
    finding.advice = Some(match subject.process.exit_code() {
        Some(0) => "Read stderr as well as stdout: this program reports its progress there.".into(),
        Some(_) => "Read stderr as well as stdout: the error message is there.".into(),
        None => "Read stderr as well as stdout.".into(),
    });
    vec![finding]
}
