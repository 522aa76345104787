//! Nobody could read any more: EPIPE, and usually death by SIGPIPE.

use serde_json::json;
use tracer_common::ledger::error;

use super::super::{Case, Subject, evidence, words};
use crate::report::{Finding, Severity};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    subject
        .streams()
        .into_iter()
        .filter(|stream| stream.errors(error::EPIPE) > 0)
        .map(|stream| {
            let readers = case.flows.get(&stream.object).readers_in_words();
            let reader = match readers {
                Some(reader) => format!("its reader {reader} had closed it"),
                None => "nobody held its read end".to_owned(),
            };
            let message = format!(
                "{} could not write to {}: {reader} (EPIPE, {} writes refused) after {} had been \
                 written.{}",
                words::who(subject),
                stream.name(),
                stream.errors(error::EPIPE),
                words::bytes(stream.row.bytes),
                words::ending(subject)
            );
            let finding = evidence::finding(case, subject, "reader_gone", Severity::Loss, message);
            let mut finding = evidence::with_stream(finding, case, stream);
            finding.advice =
                Some("The reader must read to the end before it closes the pipe.".into());
            evidence::with(finding, "refusals", json!(stream.errors(error::EPIPE)))
        })
        .collect()
}
