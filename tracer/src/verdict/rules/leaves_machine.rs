//! The stream is a socket whose other end is not seen: a network connection, or a datagram socket.

use serde_json::json;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    report::{Finding, Severity},
    session::Kind,
};

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let beyond = |stream: &&Stream| {
        stream.kind == Kind::Socket
            && stream.row.bytes > 0
            && case.session.far_end(&stream.object) == stream.object
    };
    subject
        .distinct_streams()
        .into_iter()
        .filter(beyond)
        .map(|stream| {
            let peer = case.session.objects.get(&stream.object).map(|object| object.path.clone());
            let through = match peer.filter(|path| !path.is_empty()) {
                Some(path) => format!("{} ({path})", case.session.object_name(&stream.object)),
                None => case.session.object_name(&stream.object),
            };
            let message = format!(
                "{} wrote {} to {}, into {through}: they left this machine's sight there.{}",
                words::who(subject),
                words::bytes(subject.bytes_to(stream)),
                stream.name(),
                words::ending(subject)
            );
            let finding = evidence::finding(case, subject, "out_of_sight", Severity::Info, message);
            let mut finding = evidence::with_stream(finding, case, stream);
            finding.advice =
                Some("Look at the other end: run tracer on the machine that reads.".into());
            evidence::with(finding, "why", json!("socket"))
        })
        .collect()
}
