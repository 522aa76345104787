//! The stream is a socket whose other end is unknown (a network connection, or a datagram socket), or a file outside a
//! gVisor sandbox that could not be told.

use std::net::Ipv6Addr;

use serde_json::json;

use super::super::{Case, Stream, Subject, evidence, words};
use crate::{
    session::Kind,
    text::{self, units},
    verdict::{Finding, Rule, Severity},
};

/// Address families (`include/linux/socket.h`).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

pub(super) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    let beyond = |stream: &&Stream| {
        let is_beyond = match stream.kind {
            Kind::Socket => !case.session.is_joined(&stream.object),
            Kind::HandedIn => true,
            _ => false,
        };
        is_beyond && stream.row.bytes > 0
    };
    subject
        .distinct_streams()
        .into_iter()
        .filter(beyond)
        .map(|stream| {
            let peer = case.session.objects.get(&stream.object).map(|object| object.path.clone());
            let is_socket = stream.kind == Kind::Socket;
            let through = match peer.filter(|path| is_socket && !path.is_empty()) {
                Some(path) => {
                    let path = text::name(&path);
                    format!("{} ({path})", words::object(case, &stream.object))
                }
                None => words::object(case, &stream.object),
            };
            let message = format!(
                "{} wrote {} to {}, into {through}; {}.{}",
                words::writer(subject, stream),
                units::exact(subject.bytes_to(stream)),
                stream.name(),
                where_to(case, stream),
                words::ending(subject)
            );
            let finding =
                evidence::finding(case, subject, Rule::OutOfSight, Severity::Info, message);
            let mut finding = evidence::with_stream(finding, case, stream);
            finding.advice = Some(advice(case, stream).into());
            evidence::with(finding, "why", json!(stream.kind.name()))
        })
        .collect()
}

/// Whether the other end is on this machine: a unix socket, or a connection to a loopback address.
pub(super) fn is_local(case: &Case<'_>, stream: &Stream) -> bool {
    let Some(object) = case.session.objects.get(&stream.object) else { return false };
    match object.socket.family {
        AF_UNIX => true,
        AF_INET => object.socket.remote[0] == 127,
        AF_INET6 => {
            let remote = Ipv6Addr::from(object.socket.remote);
            remote.to_canonical().is_loopback()
        }
        _ => false,
    }
}

fn where_to(case: &Case<'_>, stream: &Stream) -> &'static str {
    if stream.kind == Kind::HandedIn {
        "there they left the sandbox, and tracer could not tell for which file of this machine"
    } else if is_local(case, stream) {
        "who reads the other end on this machine was not seen"
    } else {
        "there they left this machine, and its sight"
    }
}

fn advice(case: &Case<'_>, stream: &Stream) -> &'static str {
    if stream.kind == Kind::HandedIn {
        "Look at what gVisor's kernel wrote at that time: `tracer --all-fds --pid` of the sandbox lists it, with who \
         reads it."
    } else if is_local(case, stream) {
        "Look at the process at the other end: `ss -xp` and `ss -tnp` name it, `tracer --pid` counts \
         what it writes."
    } else {
        "Look at the other end: run tracer on the machine that reads."
    }
}
