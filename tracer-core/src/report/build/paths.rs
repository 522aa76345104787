//! Describes the paths of the output, and what managers' logs claim about it.

use std::collections::BTreeMap;

use tracer_common::id::ProcessId;

use crate::{
    event::{self, Replies},
    report::{Chain, Claim, Step, WorkerLog},
    session::{self, Session},
    verdict::{Case, Subject},
};

/// Maximal number of paths in one report.
const MAX_PATHS: usize = 256;

/// The paths of all streams that carried bytes and have a reader; those of inner commands first.
pub(crate) fn hops(case: &Case<'_>) -> Vec<Chain> {
    let all = case.inner.iter().chain(&case.subjects);
    all.flat_map(|subject| of_subject(case, subject)).take(MAX_PATHS).collect()
}

fn of_subject(case: &Case<'_>, subject: &Subject<'_>) -> Vec<Chain> {
    let mut ways = Vec::new();
    for stream in subject.streams() {
        if stream.row.bytes == 0 || case.flows.get(&stream.object).readers.is_empty() {
            continue;
        }
        let from = subject.process.id;
        let found =
            session::chains(case.session, &case.flows, from, stream.object, stream.row.bytes);
        ways.extend(found.into_iter().map(|chain| Chain {
            subject_pid: from.tgid,
            fd: stream.fd,
            steps: chain.iter().map(|taken| step(case.session, taken)).collect(),
        }));
    }
    ways
}

fn step(session: &Session, taken: &session::Step) -> Step {
    let comm = session.processes.get(&taken.process).map(|process| process.comm.clone());
    Step {
        pid: taken.process.tgid,
        comm: comm.unwrap_or_default(),
        read: taken.read,
        object: taken.object.map(|object| session.object_name(&object)),
        bytes: taken.written,
    }
}

/// Two claims (stdout, stderr) for each target that a log names; claims of several logs about one process are added
/// up.
pub(super) fn claims(case: &Case<'_>) -> Vec<Claim> {
    let mut by_process: BTreeMap<ProcessId, event::Claim> = BTreeMap::new();
    for (process, claim) in &case.claims {
        let known = by_process.entry(*process).or_insert_with(|| event::Claim {
            stdout: Replies::default(),
            stderr: Replies::default(),
            ..(*claim).clone()
        });
        known.stdout.add(claim.stdout);
        known.stderr.add(claim.stderr);
    }
    let processes = by_process.iter();
    processes.flat_map(|(process, claim)| of_log(case, *process, claim)).collect()
}

fn of_log(case: &Case<'_>, process: ProcessId, claim: &event::Claim) -> [Claim; 2] {
    let known = case.session.processes.get(&process);
    [(1, claim.stdout.claimed()), (2, claim.stderr.claimed())].map(|(fd, handed_out)| {
        let object = known.and_then(|known| known.stdio_object(fd));
        let flow = object.map(|object| case.flows.get(&object));
        Claim {
            pid: process.tgid,
            ns_pid: claim.pid,
            container: claim.container.clone(),
            stream: if fd == 1 { "stdout" } else { "stderr" }.to_owned(),
            written: flow.map_or(0, |flow| flow.written),
            read: flow.map_or(0, |flow| flow.read),
            handed_out,
        }
    })
}

/// How well each log could be read.
pub(super) fn worker_logs(session: &Session) -> Vec<WorkerLog> {
    session
        .logs_read
        .iter()
        .map(|log| WorkerLog {
            path: log.name.clone(),
            lines: log.lines,
            bad: log.bad,
            first_bad: log.first_bad.clone(),
            unread: log.unread,
        })
        .collect()
}
