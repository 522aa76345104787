//! Describes one object for the report.

use crate::{
    event::FileNow,
    report::{Close, Endpoint, Holder, Object},
    session::{self, Flows, Kind, Session},
};

/// Describes an object and its flow.
pub(crate) fn object(session: &Session, known: &session::Object, flows: &Flows) -> Object {
    let flow = flows.get(&known.id);
    let other_half = session.peer(&known.id);
    let peer = known.socket.peer_ino;
    Object {
        id: session.object_name(&known.id),
        kind: known.kind.name().to_owned(),
        path: known.path.clone(),
        size: (known.kind == Kind::File).then_some(known.size),
        peer: (peer != 0).then(|| format!("socket:[{peer}]")),
        joined: (other_half != known.id).then(|| session.object_name(&other_half)),
        now: known.now.map(|now| word(now).to_owned()),
        renamed: (!known.renamed.is_empty()).then(|| known.renamed.clone()),
        size_after: known.size_after,
        capacity: (known.queue.slots > 0).then(|| known.queue.capacity()),
        hop: known.hop,
        written: flow.written,
        read: flow.read,
        unread_before: flow.before,
        unread: flow.unread,
        inside: flow.inside,
        incoming: flow.incoming,
        in_flight: flow.in_flight,
        balanced: flow.balanced,
        doubts: flow.doubts.iter().map(|reason| (*reason).into()).collect(),
        writers: flow.writers.iter().map(endpoint).collect(),
        readers: flow.readers.iter().map(endpoint).collect(),
        holders: session.holders(&known.id).map(holder).collect(),
        closes: session.closes(&known.id).iter().map(|close| closed(session, close)).collect(),
    }
}

fn word(now: FileNow) -> &'static str {
    match now {
        FileNow::Same => "same",
        FileNow::Replaced => "replaced",
        FileNow::Gone => "gone",
        FileNow::NotVisible => "not_visible",
    }
}

fn endpoint(endpoint: &session::Endpoint) -> Endpoint {
    Endpoint { pid: endpoint.process.tgid, comm: endpoint.comm.clone(), bytes: endpoint.bytes }
}

fn holder(holding: &session::Holding) -> Holder {
    Holder {
        pid: holding.process.tgid,
        comm: holding.comm.clone(),
        fd: holding.fd,
        access: holding.access().to_owned(),
    }
}

fn closed(session: &Session, close: &session::Close) -> Close {
    Close {
        pid: close.process.tgid,
        comm: close.comm.clone(),
        fd: close.fd,
        at_ms: session.since_start_ms(close.time_ns),
        by: if close.by_exit { "exit" } else { "close" }.to_owned(),
    }
}
