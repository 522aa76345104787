//! Describes one process for the report.

use std::collections::BTreeMap;

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, WRITE, error},
    object::FdState,
    op,
};

use crate::{
    report::{Elsewhere, Exit, Fact, Fd, Process},
    session::{self, Session},
    text::errno,
};

/// Describes a target.
pub(super) fn process(
    session: &Session,
    known: &session::Process,
    stdio_of_interest: &[i32],
) -> Process {
    let (own, passed_on): (Vec<_>, Vec<_>) =
        session.rows_of(known.id, WRITE).partition(|(key, _)| is_own(session, key));
    let mut fds: Vec<Fd> = own.iter().map(|(key, row)| fd(session, key, row)).collect();
    for number in stdio_of_interest {
        silent_fd(session, known, *number, &mut fds);
    }
    fds.sort_by(|a, b| {
        (a.fd, a.first_write_ms.unwrap_or(0.0))
            .partial_cmp(&(b.fd, b.first_write_ms.unwrap_or(0.0)))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    // There can be one list for each process on the machine.
    fds.shrink_to_fit();
    Process {
        pid: known.id.tgid,
        sandbox: known.id.sandbox,
        ns_pid: if known.ns_pid == 0 { known.id.tgid } else { known.ns_pid },
        ppid: known.parent.tgid,
        comm: known.comm.clone(),
        argv: known.argv.clone(),
        argv_bytes: known.argv_bytes,
        start_ms: session.since_start_ms(known.id.start_ns),
        end_ms: known.end_ns.map(|end| session.since_start_ms(end)),
        exit: exit(known),
        attached_late: known.attached_late,
        executed: known.executed,
        elsewhere: elsewhere(known, &passed_on),
        fds,
        stdio: stdio(session, known.stdio),
        stdio_at_end: stdio(session, known.stdio_at_end),
        facts: known.facts.iter().map(|known| fact(session, known)).collect(),
        environment: known.environment.clone(),
        environment_cut: known.environment_cut,
    }
}

/// How a process ended.
pub(super) fn exit(known: &session::Process) -> Option<Exit> {
    known.end_ns.map(|_| Exit { code: known.exit_code(), signal: known.signal() })
}

/// Whether a row is output of the target itself, not bytes passed on by a relay.
pub(super) fn is_own(session: &Session, key: &LedgerKey) -> bool {
    session.is_of_targets(&key.object)
}

/// Output through fds that the user did not ask for, passed on bytes included.
fn elsewhere(known: &session::Process, passed_on: &[(&LedgerKey, &LedgerRow)]) -> Elsewhere {
    let sum = |of: fn(&LedgerRow) -> u64| passed_on.iter().map(|(_, row)| of(row)).sum::<u64>();
    Elsewhere {
        bytes: known.other_bytes.map(|other| other + sum(|row| row.bytes)),
        writes: known.other_calls.map(|other| other + sum(|row| row.calls)),
    }
}

fn stdio(session: &Session, states: Option<[FdState; 3]>) -> Vec<String> {
    states.iter().flatten().map(|state| session.object_name(&state.object)).collect()
}

/// Lists a standard fd without a write: what it pointed to at the start, and, if it was replaced, what it points to
/// at the end.
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
        last_moments_bytes: row.last_moments_bytes(),
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
