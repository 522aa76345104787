//! Which process a manager's log means.

use super::{Process, Session};
use crate::event::HandedOut;

impl Session {
    /// The process that a log line is about: its pid is that of the innermost pid namespace. Where
    /// several processes have it (one container each), the command decides.
    #[must_use]
    pub fn claimant(&self, said: &HandedOut) -> Option<&Process> {
        let fits = |process: &&Process| {
            let inside = if process.ns_pid == 0 { process.id.tgid } else { process.ns_pid };
            process.is_target && (inside == said.pid || process.id.tgid == said.pid)
        };
        let same_command = |process: &&Process| {
            !said.command.is_empty()
                && process.argv.len() == said.command.len()
                && process.argv.iter().zip(&said.command).all(|(one, other)| one == other)
        };
        if said.pid == 0 {
            return self.failed(&said.command);
        }
        let candidates = || self.processes.values().filter(fits);
        candidates().find(same_command).or_else(|| match candidates().collect::<Vec<_>>()[..] {
            [only] => Some(only),
            _ => None,
        })
    }

    /// The latest process of a command that failed, of which a log names no pid; its words may have
    /// been joined to one.
    fn failed(&self, command: &[String]) -> Option<&Process> {
        let words = command.join(" ");
        let failed = self.processes.values().filter(|process| {
            process.is_target && process.status.is_some_and(|status| status != 0)
        });
        failed.filter(|process| process.command() == words).max_by_key(|process| process.id)
    }
}
