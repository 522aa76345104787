//! Takes in what user space saw beside the hooks.

use super::Session;
use crate::event::Outside;

impl Session {
    /// Takes in what user space saw.
    pub(super) fn outside(&mut self, seen: &Outside) {
        match seen {
            Outside::Environment { process, variables } => {
                if let Some(known) = self.processes.get_mut(process) {
                    known.environment = Some(variables.clone());
                }
            }
            Outside::File { object, now } => {
                if let Some(known) = self.objects.get_mut(object) {
                    known.now = Some(*now);
                }
            }
            Outside::Log { object, tally } => {
                if let Some(known) = self.objects.get_mut(object) {
                    known.log = Some(*tally);
                }
            }
            Outside::Asleep(asleep) => self.asleep.push(asleep.clone()),
            Outside::LogRead(log) => self.logs_read.push(log.clone()),
            Outside::HandedOut(handed_out) => self.handed_out.push(handed_out.clone()),
        }
    }
}
