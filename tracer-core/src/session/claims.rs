//! Finds the process that a claim of a manager's log is about.

use std::collections::BTreeMap;

use super::{Process, Session};
use crate::event::Claim;

/// The targets, indexed by what a log can name: a pid or a command.
pub struct ClaimedProcesses<'a> {
    /// By pid of the innermost pid namespace and by pid of the host, in the order of start.
    by_pid: BTreeMap<u32, Vec<&'a Process>>,
    /// The latest failed process of each command line.
    failed: BTreeMap<String, &'a Process>,
}

impl<'a> ClaimedProcesses<'a> {
    /// Indexes the targets; does nothing if no log was read.
    #[must_use]
    pub fn of(session: &'a Session) -> Self {
        let mut claimed = Self { by_pid: BTreeMap::new(), failed: BTreeMap::new() };
        if session.claims.is_empty() {
            return claimed;
        }
        for process in session.processes.values().filter(|process| process.is_target) {
            let inside = if process.ns_pid == 0 { process.id.tgid } else { process.ns_pid };
            claimed.by_pid.entry(inside).or_default().push(process);
            if inside != process.id.tgid {
                claimed.by_pid.entry(process.id.tgid).or_default().push(process);
            }
            if process.has_failed() {
                // Processes are in the order of their ids, so the latest one stays.
                claimed.failed.insert(process.command(), process);
            }
        }
        claimed
    }

    /// The process that a claim is about. The claim's pid is that of the innermost pid namespace; if several
    /// processes have it (in different containers), the command decides. A claim without a pid is about the latest
    /// failed process with its command; a log may have joined the words of that command.
    #[must_use]
    pub fn find(&self, claim: &Claim) -> Option<&'a Process> {
        if claim.pid == 0 {
            return self.failed.get(&claim.command.join(" ")).copied();
        }
        let candidates = self.by_pid.get(&claim.pid)?;
        let same_command =
            |process: &&&Process| !claim.command.is_empty() && *process.argv == *claim.command;
        candidates.iter().find(same_command).copied().or(match candidates[..] {
            [only] => Some(only),
            _ => None,
        })
    }
}
