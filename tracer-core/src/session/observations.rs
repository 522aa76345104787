//! Applies observations from user space to the session.

use super::{Process, Session, apply::bytes_of};
use crate::event::EventKind;

impl Session {
    /// Applies an observation from user space; any other event changes nothing.
    pub(super) fn observed(&mut self, seen: &EventKind) {
        match seen {
            EventKind::Environment { process, variables, cut } => {
                if let Some(known) = self.processes.get_mut(process) {
                    if !self.variables.are(variables) {
                        self.variables = variables.iter().cloned().collect();
                    }
                    known.environment = Some(self.variables.clone());
                    known.environment_cut = *cut;
                }
            }
            EventKind::Arguments { process, argv, argv_cut, argv_bytes } => {
                // An answer about the image before would come too late: those of later images come with their events.
                let is_wanted = |known: &&mut Process| !known.executed || known.argv.is_empty();
                if let Some(known) = self.processes.get_mut(process).filter(is_wanted) {
                    known.argv = argv.as_slice().into();
                    known.argv_bytes = argv_cut.then(|| bytes_of(argv, *argv_bytes));
                }
            }
            EventKind::File { object, now, size, renamed } => {
                if let Some(known) = self.objects.get_mut(object) {
                    known.now = Some(*now);
                    known.renamed = renamed.clone();
                    if known.is_number_reused {
                        let size = known.size_after;
                        known.number_is_reused();
                        known.size_after = size;
                    } else if known.is_found() {
                        known.size_after = Some(*size);
                    }
                }
            }
            EventKind::Log { object, tally } => {
                if let Some(known) = self.objects.get_mut(object) {
                    known.log = Some(tally.clone());
                }
            }
            EventKind::BlockedThread(thread) => self.blocked.push(thread.clone()),
            EventKind::Claim(claim) => self.claims.push(claim.clone()),
            EventKind::LogRead(log) => self.logs_read.push(log.clone()),
            EventKind::NotSeen(unseen) => self.not_seen.push(unseen.clone()),
            EventKind::Sandbox(sandbox) => self.sandbox_seen(sandbox),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::id::ProcessId;

    use super::*;

    fn argv_after(executed: bool, known: &[&str]) -> Vec<String> {
        let (process, mut session) = (ProcessId::new(7, 1), Session::default());
        let argv: Vec<String> = known.iter().map(|word| (*word).to_owned()).collect();
        session.processes.insert(
            process,
            Process { id: process, executed, argv: argv.into(), ..Process::default() },
        );
        let argv = vec!["shim".to_owned(), "--long".to_owned()];
        session.observed(&EventKind::Arguments { process, argv, argv_cut: false, argv_bytes: 0 });
        session.processes[&process].argv.to_vec()
    }

    #[test]
    fn arguments_of_an_image_before_the_latest_are_ignored() {
        assert_eq!(argv_after(true, &["ls"]), ["ls"]);
        assert_eq!(argv_after(true, &[]), ["shim", "--long"]);
        assert_eq!(argv_after(false, &["fork"]), ["shim", "--long"]);
    }
}
