//! Statements added up: what a log says of each process.

use std::collections::BTreeMap;

use super::{Statement, StatementKind, StatementTime, Stream};
use crate::event::{Claim, Replies};

/// A log's seconds are rounded down, and its writer's clock is another process's.
const TOLERANCE_NS: i64 = 2_000_000_000;

/// Adds up the claims of one log.
#[derive(Debug, Default)]
pub struct ClaimTally {
    /// By container and pid. A number that is used again is another process: only the latest counts.
    processes: BTreeMap<(Option<String>, u32), Claim>,
    /// Commands of which it says that they failed, and no pid.
    failed: Vec<Claim>,
    /// Bytes of the commands and containers in both.
    text: usize,
    /// Statements that found no room.
    left_out: u64,
}

/// Processes and failed commands that are kept of one log: a guest may forge lines of the console form.
const MAX_KEPT: usize = 1 << 16;
/// Bytes of their commands and containers.
const MAX_TEXT: usize = 32 << 20;
/// Bytes of a container's name.
const MAX_NAME: usize = 1 << 10;

impl ClaimTally {
    /// Adds claims. Those that are known to be older than the trace are about other processes.
    pub fn add(&mut self, claims: Vec<Statement>, trace_began_unix_ns: i64) {
        let is_old = |claim: &Statement| match claim.time {
            Some(StatementTime::UnixNanos(at)) => at < trace_began_unix_ns - TOLERANCE_NS,
            _ => false,
        };
        claims.into_iter().filter(|claim| !is_old(claim)).for_each(|claim| self.add_one(claim));
    }

    fn add_one(&mut self, claim: Statement) {
        if !self.has_room(&claim) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let key = (claim.container.clone(), claim.pid);
        let fresh = || Claim {
            pid: claim.pid,
            container: claim.container.clone(),
            command: Vec::new(),
            stdout: Replies::default(),
            stderr: Replies::default(),
            empty_again: 0,
        };
        match claim.what {
            StatementKind::Started { command } => {
                self.processes.insert(key, Claim { command, ..fresh() });
            }
            StatementKind::Failed { command } => {
                self.failed.push(Claim { command, ..fresh() });
            }
            StatementKind::Returned { stream, bytes } => {
                let known = self.processes.entry(key).or_insert_with(fresh);
                let answers = match stream {
                    Stream::Stdout => &mut known.stdout,
                    Stream::Stderr => &mut known.stderr,
                };
                if bytes == 0 && answers.bytes > 0 {
                    known.empty_again = known.empty_again.saturating_add(1);
                }
                answers.lines = answers.lines.saturating_add(1);
                answers.bytes = answers.bytes.saturating_add(bytes);
            }
        }
    }

    /// Takes the room of a claim, if there is any. What is known already may always be added to.
    fn has_room(&mut self, claim: &Statement) -> bool {
        let name = claim.container.as_ref().map_or(0, String::len);
        let command = match &claim.what {
            StatementKind::Started { command } | StatementKind::Failed { command } => {
                // A string takes memory without a character in it.
                command.iter().map(|word| word.len() + size_of::<String>()).sum()
            }
            StatementKind::Returned { .. } => {
                if self.processes.contains_key(&(claim.container.clone(), claim.pid)) {
                    return true;
                }
                0
            }
        };
        let text = self.text.saturating_add(name).saturating_add(command);
        let kept = self.processes.len() + self.failed.len();
        if kept >= MAX_KEPT || text > MAX_TEXT || name > MAX_NAME {
            return false;
        }
        self.text = text;
        true
    }

    /// Statements that were left out because there were too many, or too much text in them.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What the log says, one entry for each process.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        self.processes.values().chain(&self.failed).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(pid: u32, what: StatementKind) -> Statement {
        Statement { container: None, pid, time: None, what }
    }

    fn handed(pid: u32, bytes: u64) -> Statement {
        claim(pid, StatementKind::Returned { stream: Stream::Stdout, bytes })
    }

    #[test]
    fn answers_add_up_and_an_empty_second_one_is_noted() {
        let mut tally = ClaimTally::default();
        tally.add(vec![handed(7, 10), handed(7, 5), handed(7, 0)], 0);
        let said = tally.claims();
        let Claim { stdout, stderr, empty_again, .. } = &said[0];
        assert_eq!((stdout.claimed(), stderr.claimed(), *empty_again), (Some(15), None, 1));
    }

    #[test]
    fn a_number_used_again_begins_anew() {
        let mut tally = ClaimTally::default();
        let started = claim(7, StatementKind::Started { command: vec!["ls".into()] });
        tally.add(vec![handed(7, 10), started], 0);
        let said = tally.claims();
        assert_eq!((said.len(), said[0].stdout.claimed()), (1, None));
        assert_eq!(said[0].command, ["ls"]);
    }

    #[test]
    fn a_forged_log_fills_no_memory_and_what_is_left_out_is_counted() {
        let mut tally = ClaimTally::default();
        tally.add((0..MAX_KEPT as u32).map(|pid| handed(pid, 1)).collect(), 0);
        assert_eq!((tally.claims().len(), tally.left_out()), (MAX_KEPT, 0));
        tally.add(vec![handed(70_000, 1), handed(7, 1)], 0);
        assert_eq!((tally.claims().len(), tally.left_out()), (MAX_KEPT, 1));
        assert_eq!(tally.claims()[7].stdout.claimed(), Some(2));

        let mut tally = ClaimTally::default();
        let command = vec!["x".repeat(1 << 20)];
        let started = |pid| claim(pid, StatementKind::Started { command: command.clone() });
        tally.add((0..40).map(started).collect(), 0);
        assert_eq!((tally.claims().len(), tally.left_out()), (31, 9));
        let named = Statement { container: Some("x".repeat(2000)), ..handed(1, 1) };
        tally.add(vec![named], 0);
        assert_eq!(tally.left_out(), 10);
    }

    #[test]
    fn a_claim_from_before_the_trace_is_left_out() {
        let mut tally = ClaimTally::default();
        let old = Statement { time: Some(StatementTime::UnixNanos(1)), ..handed(7, 10) };
        tally.add(vec![old], 10_000_000_000);
        assert!(tally.claims().is_empty());
    }
}
