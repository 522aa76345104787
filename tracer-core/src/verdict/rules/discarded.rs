//! The stream is `/dev/null`.

use super::super::{Case, Subject, evidence, words};
use crate::{
    session::Kind,
    text::units,
    verdict::{Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .streams()
        .into_iter()
        .filter(|stream| stream.kind == Kind::Null && stream.row.bytes > 0)
        .map(|stream| {
            let message = format!(
                "{} wrote {} to {}, which is /dev/null: discarded.{}",
                words::who(subject),
                units::exact(stream.row.bytes),
                stream.name(),
                words::ending(subject)
            );
            let finding =
                evidence::finding(case, subject, Rule::Discarded, Severity::Warning, message);
            let mut finding = evidence::with_stream(finding, case, stream);
            finding.advice = Some(format!(
                "Whoever starts it gives it /dev/null as {}: pass a pipe or a file instead.",
                stream.name()
            ));
            finding
        })
        .collect()
}
