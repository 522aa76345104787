//! Bytes were left in the pipe.

use serde_json::json;

use super::super::{Case, Subject, evidence, words};
use crate::report::{Finding, Severity};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let streams = subject.streams();
    let shared = streams[0].object == streams[1].object;
    let distinct = if shared { &streams[..1] } else { &streams[..] };
    distinct
        .iter()
        .filter(|stream| stream.row.bytes > 0 || streams[1].row.bytes > 0 && shared)
        .filter_map(|stream| {
            let flow = case.flows.get(&stream.object);
            let unread = flow.unread.filter(|unread| *unread > 0)?;
            let object = case.session.objects.get(&stream.object)?;
            let reader = object
                .holders
                .iter()
                .find(|holding| holding.reads() && !subject.members.contains(&holding.process));
            let own = if shared { subject.bytes() } else { stream.row.bytes };
            let written = words::bytes(own);
            let others = if flow.written > own { " together with others" } else { "" };
            let (severity, fate, advice) = match reader {
                Some(reader) => (
                    Severity::Warning,
                    format!(
                        "{} (pid {}) can still read it but has not",
                        reader.comm, reader.process.tgid
                    ),
                    "The reader is slow, blocked or has stopped reading: look at what it does.",
                ),
                None => (
                    Severity::Loss,
                    "nobody holds its read end any more: lost".to_owned(),
                    "The reader closed the pipe before it had read to the end.",
                ),
            };
            let message = format!(
                "{} wrote {written}{others} to {}; {} are still unread in {}; {fate}.{}",
                words::who(subject),
                stream.name(),
                words::bytes(unread),
                object.name(),
                words::ending(subject)
            );
            let finding = evidence::finding(case, subject, "unread", severity, message);
            let mut finding = evidence::with_stream(finding, case, stream);
            finding.advice = Some(advice.into());
            Some(evidence::with(finding, "reader_alive", json!(reader.is_some())))
        })
        .collect()
}
