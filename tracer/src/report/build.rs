//! A session and its findings into the finished report.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracer_common::{
    ledger::{LedgerKey, LedgerRow, WRITE, error},
    loss,
    object::FdState,
    op,
};

use super::{
    Elsewhere, Exit, Fact, Fd, Holder, Object, Party, Process, Report, SCHEMA, Target, Window,
};
use crate::{
    errno,
    recording::REASONS,
    session::{self, Flows, Kind, Session},
    verdict::{self, Case},
};

/// Judges a session and puts the report together. `start` is the window's start in real time;
/// `stdio_of_interest` lists which of fd 0, 1 and 2 the user asked for.
#[must_use]
pub fn build(
    session: &Session,
    target: Target,
    start: Timestamp,
    stdio_of_interest: &[i32],
) -> Report {
    let flows = Flows::of(session);
    let case = Case::new(session, &flows);
    let findings = verdict::judge(&case);
    let mut processes: Vec<Process> = session
        .processes
        .values()
        .filter(|process| process.is_target)
        .map(|known| process(session, known, stdio_of_interest))
        .collect();
    processes.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    let mut seen: Vec<&session::Object> = session.objects.values().collect();
    seen.sort_by_key(|object| (object.seen_ns, object.id));
    Report {
        schema: SCHEMA.to_owned(),
        verdict: verdict::headline(&findings),
        target,
        window: Window {
            start: start.to_string(),
            seconds: session.end_ns.saturating_sub(session.start_ns) as f64 / 1e9,
        },
        processes,
        objects: seen.into_iter().map(|known| object(session, known, &flows)).collect(),
        findings,
        losses: losses(session),
        lost_bytes: session
            .losses
            .iter()
            .filter(|(_, cell)| cell.bytes > 0)
            .map(|(reason, cell)| (reason.clone(), cell.bytes))
            .collect(),
    }
}

/// Every reason by name, those that were never hit with 0.
fn losses(session: &Session) -> BTreeMap<String, u64> {
    let mut losses: BTreeMap<String, u64> =
        loss::NAMES.iter().chain(&REASONS).map(|name| ((*name).to_owned(), 0)).collect();
    losses.extend(session.losses.iter().map(|(reason, cell)| (reason.clone(), cell.events)));
    losses
}

fn process(session: &Session, known: &session::Process, stdio_of_interest: &[i32]) -> Process {
    let mut fds: Vec<Fd> =
        session.rows_of(known.id, WRITE).map(|(key, row)| fd(session, key, row)).collect();
    for number in stdio_of_interest {
        silent_fd(session, known, *number, &mut fds);
    }
    fds.sort_by(|a, b| {
        (a.fd, a.first_write_ms.unwrap_or(0.0))
            .partial_cmp(&(b.fd, b.first_write_ms.unwrap_or(0.0)))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    Process {
        pid: known.id.tgid,
        ns_pid: if known.ns_pid == 0 { known.id.tgid } else { known.ns_pid },
        ppid: known.parent.tgid,
        comm: known.comm.clone(),
        argv: known.argv.clone(),
        start_ms: session.since_start_ms(known.id.start_ns),
        end_ms: known.end_ns.map(|end| session.since_start_ms(end)),
        exit: known.status.map(|_| Exit { code: known.exit_code(), signal: known.signal() }),
        attached_late: known.attached_late,
        executed: known.executed,
        elsewhere: Elsewhere { bytes: known.other_bytes, writes: known.other_calls },
        fds,
        stdio: stdio(session, known.stdio),
        stdio_at_end: stdio(session, known.stdio_at_end),
        facts: known.facts.iter().map(|known| fact(session, known)).collect(),
    }
}

fn stdio(session: &Session, states: Option<[FdState; 3]>) -> Vec<String> {
    states.iter().flatten().map(|state| session.object_name(&state.object)).collect()
}

/// A standard fd that never saw a write is listed with what it pointed to at the start, and, where
/// it was replaced without a write since, with what it points to now.
fn silent_fd(session: &Session, known: &session::Process, number: i32, fds: &mut Vec<Fd>) {
    let Ok(index) = usize::try_from(number) else { return };
    let at = |stdio: Option<[FdState; 3]>| stdio.and_then(|stdio| stdio.get(index).copied());
    let wrote = fds.iter().any(|row| row.fd == number);
    let latest = at(known.stdio_at_end).filter(|state| !wrote && !state.object.is_none());
    for state in at(known.stdio).into_iter().chain(latest) {
        let object = session.object_name(&state.object);
        if fds.iter().any(|row| row.fd == number && row.object == object) {
            continue;
        }
        let kind = session.object_kind(&state.object).name().to_owned();
        fds.push(Fd { fd: number, object, kind, ..Fd::default() });
    }
}

fn fd(session: &Session, key: &LedgerKey, row: &LedgerRow) -> Fd {
    Fd {
        fd: key.fd,
        object: session.object_name(&key.object),
        kind: session.object_kind(&key.object).name().to_owned(),
        bytes: row.bytes,
        writes: row.calls,
        errors: errors(row),
        short: row.short,
        zero: row.zero,
        refused_bytes: row.refused,
        last_moments_bytes: row.window_bytes + row.previous_window_bytes,
        first_write_ms: Some(session.since_start_ms(row.first_ns)),
        last_write_ms: Some(session.since_start_ms(row.last_ns.max(row.first_ns))),
        ways: ways(row.ops),
    }
}

fn errors(row: &LedgerRow) -> BTreeMap<String, u32> {
    error::NAMES
        .iter()
        .zip(row.errors)
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| ((*name).to_owned(), count))
        .collect()
}

fn ways(ops: u32) -> Vec<String> {
    op::NAMES
        .iter()
        .enumerate()
        .filter(|(code, _)| ops >> code & 1 == 1)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

fn fact(session: &Session, known: &session::Fact) -> Fact {
    Fact {
        kind: known.kind.name().to_owned(),
        at_ms: session.since_start_ms(known.time_ns),
        fd: known.fd,
        error: (known.errno != 0).then(|| errno::name(known.errno)),
        about: known.about.clone(),
    }
}

fn object(session: &Session, known: &session::Object, flows: &Flows) -> Object {
    let flow = flows.get(&known.id);
    let party = |party: &session::Party| Party {
        pid: party.process.tgid,
        comm: party.comm.clone(),
        bytes: party.bytes,
    };
    Object {
        id: session.object_name(&known.id),
        kind: known.kind.name().to_owned(),
        path: known.path.clone(),
        size: (known.kind == Kind::File).then_some(known.size),
        peer: (known.socket.peer_ino != 0).then(|| format!("socket:[{}]", known.socket.peer_ino)),
        written: flow.written,
        read: flow.read,
        unread_before: flow.before,
        unread: flow.unread,
        balanced: flow.balanced,
        writers: flow.writers.iter().map(party).collect(),
        readers: flow.readers.iter().map(party).collect(),
        holders: known
            .holders
            .iter()
            .map(|holding| Holder {
                pid: holding.process.tgid,
                comm: holding.comm.clone(),
                fd: holding.fd,
                access: holding.access().to_owned(),
            })
            .collect(),
    }
}
