//! A process is stopped by a signal. A background job is stopped when it writes to its terminal, if `stty tostop` is set
//! (`SIGTTOU`, termios(3)).

use std::collections::BTreeMap;

use serde_json::json;
use tracer_common::{id::ProcessId, ledger::WRITE};

use super::super::{Case, evidence, words};
use crate::{
    event::{BlockedCall, BlockedThread},
    session::{Kind, Process},
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    // The first stopped thread of a process stands for it.
    let blocked = case.session.blocked.iter().rev();
    let stopped: BTreeMap<ProcessId, &BlockedThread> = blocked
        .filter(|thread| thread.call == BlockedCall::Stopped)
        .map(|thread| (thread.process, thread))
        .collect();
    let targets = case.session.processes.values().filter(|process| process.is_target);
    targets
        .filter_map(|process| of_process(case, process, stopped.get(&process.id).copied()))
        .collect()
}

fn of_process(
    case: &Case<'_>,
    process: &Process,
    stopped: Option<&BlockedThread>,
) -> Option<Finding> {
    let who = words::called(process);
    let Some(stopped) = stopped else {
        return was_stopped(case, process, &who);
    };
    let terminal = silent_on(case, process).filter(|_| stopped.in_background);
    let message = match &terminal {
        Some(name) => format!(
            "{who} is stopped in the background of the terminal {name} and has written nothing to it: very \
             likely at its first write, because `stty tostop` is set (SIGTTOU)."
        ),
        None => format!("{who} is stopped by a signal, so it writes and reads nothing."),
    };
    let mut finding = evidence::of_process(process, Rule::Stopped, Severity::Warning, message);
    let is_seen = terminal.is_none();
    finding.confidence = if is_seen { Confidence::Certain } else { Confidence::Unsure };
    finding.advice = Some(match terminal {
        Some(_) => "Bring it to the foreground (`fg`), or redirect its output.".into(),
        None => format!("Find out who stopped it; `kill -CONT {}` continues it.", process.id.tgid),
    });
    Some(evidence::with(finding, "terminal", json!(terminal)))
}

/// A process that was killed after a signal had interrupted its only write to a terminal, which it did not begin again.
fn was_stopped(case: &Case<'_>, process: &Process, who: &str) -> Option<Finding> {
    let fd = process.interrupted.and_then(|fd| usize::try_from(fd).ok())?;
    process.signal()?;
    let terminal = silent_on(case, process).filter(|_| fd == 1 || fd == 2)?;
    let message = format!(
        "{who} was stopped in its write to the terminal {terminal} (SIGTTOU: it ran in the background, and `stty \
         tostop` was set), and killed before it went on; it wrote nothing."
    );
    let mut finding = evidence::of_process(process, Rule::Stopped, Severity::Warning, message);
    finding.advice = Some("Bring it to the foreground (`fg`), or redirect its output.".into());
    Some(evidence::with(finding, "terminal", json!(terminal)))
}

/// The terminal that is stdout of a process, if the process has written no byte to it.
fn silent_on(case: &Case<'_>, process: &Process) -> Option<String> {
    let stdout = process.stdio_object(1)?;
    let mut rows = case.session.rows_on(process.id, stdout, WRITE);
    let wrote = rows.any(|(_, row)| row.bytes > 0);
    let is_terminal = case.session.object_kind(&stdout) == Kind::Pty;
    (is_terminal && !wrote).then(|| words::object(case, &stdout))
}
