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
                // A program that it has executed since has told its own: what was read may be those of the one before it.
                let is_told = |known: &Process| known.executed && !known.argv.is_empty();
                if let Some(known) = self.processes.get_mut(process).filter(|it| !is_told(it)) {
                    known.argv = argv.as_slice().into();
                    known.argv_bytes = argv_cut.then(|| bytes_of(argv, *argv_bytes));
                }
            }
            EventKind::File { object, now, size, renamed } => {
                if let Some(known) = self.objects.get_mut(object) {
                    known.now = Some(*now);
                    known.renamed = renamed.clone();
                    if known.is_found() {
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
            EventKind::Claim(handed_out) => self.claims.push(handed_out.clone()),
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

    /// systemd gives the process that will execute `/bin/sh` the title `(sh)`.
    #[test]
    fn arguments_that_were_read_late_do_not_replace_those_of_the_program() {
        let process = ProcessId::new(7, 1);
        let told = |argument: &str| EventKind::Arguments {
            process,
            argv: vec![argument.to_owned()],
            argv_cut: false,
            argv_bytes: 0,
        };
        let mut session = Session::default();
        let mut known = Process { id: process, ..Process::default() };
        session.processes.insert(process, known.clone());
        session.observed(&told("(sh)"));
        known.argv = vec!["/bin/sh".to_owned()].as_slice().into();
        known.executed = true;
        session.processes.insert(process, known);
        session.observed(&told("(sh)"));
        assert_eq!(session.processes.get(&process).unwrap().command(), "/bin/sh");
    }

    #[test]
    fn arguments_that_the_program_could_not_tell_are_taken() {
        let process = ProcessId::new(7, 1);
        let known = Process { id: process, executed: true, ..Process::default() };
        let mut session = Session::default();
        session.processes.insert(process, known);
        let argv = vec!["long".to_owned()];
        session.observed(&EventKind::Arguments { process, argv, argv_cut: true, argv_bytes: 9 });
        assert_eq!(session.processes.get(&process).unwrap().command(), "long");
    }
}
