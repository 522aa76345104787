//! Claims added up: what a log says of each process.

use std::collections::BTreeMap;

use super::{Claim, ClaimKind, ClaimTime, Stream};
use crate::event::{Answers, HandedOut};

/// A log's seconds are rounded down, and its writer's clock is another process's.
const TOLERANCE_NS: i64 = 2_000_000_000;

/// Adds up the claims of one log.
#[derive(Debug, Default)]
pub struct Account {
    /// By container and pid. A number that is used again is another process: only the latest counts.
    processes: BTreeMap<(Option<String>, u32), HandedOut>,
    /// Commands of which it says that they failed, and no pid.
    failed: Vec<HandedOut>,
    /// Bytes of the commands and containers in both.
    text: usize,
    /// Claims that found no room.
    left_out: u64,
}

/// Processes and failed commands that are kept of one log: a guest may forge lines of the console form.
const MOST_KEPT: usize = 1 << 16;
/// Bytes of their commands and containers.
const MOST_TEXT: usize = 32 << 20;
/// Bytes of a container's name.
const LONGEST_NAME: usize = 1 << 10;

impl Account {
    /// Adds claims. Those that are known to be older than the trace are about other processes.
    pub fn add(&mut self, claims: Vec<Claim>, trace_began_unix_ns: i64) {
        let is_old = |claim: &Claim| match claim.time {
            Some(ClaimTime::UnixNanos(at)) => at < trace_began_unix_ns - TOLERANCE_NS,
            _ => false,
        };
        claims.into_iter().filter(|claim| !is_old(claim)).for_each(|claim| self.add_one(claim));
    }

    fn add_one(&mut self, claim: Claim) {
        if !self.has_room(&claim) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let key = (claim.container.clone(), claim.pid);
        let fresh = || HandedOut {
            pid: claim.pid,
            container: claim.container.clone(),
            command: Vec::new(),
            stdout: Answers::default(),
            stderr: Answers::default(),
            empty_again: 0,
        };
        match claim.what {
            ClaimKind::Started { command } => {
                self.processes.insert(key, HandedOut { command, ..fresh() });
            }
            ClaimKind::Failed { command } => {
                self.failed.push(HandedOut { command, ..fresh() });
            }
            ClaimKind::HandedOut { stream, bytes } => {
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
    fn has_room(&mut self, claim: &Claim) -> bool {
        let name = claim.container.as_ref().map_or(0, String::len);
        let command = match &claim.what {
            ClaimKind::Started { command } | ClaimKind::Failed { command } => {
                // A string takes memory without a character in it.
                command.iter().map(|word| word.len() + size_of::<String>()).sum()
            }
            ClaimKind::HandedOut { .. } => {
                if self.processes.contains_key(&(claim.container.clone(), claim.pid)) {
                    return true;
                }
                0
            }
        };
        let text = self.text.saturating_add(name).saturating_add(command);
        let kept = self.processes.len() + self.failed.len();
        if kept >= MOST_KEPT || text > MOST_TEXT || name > LONGEST_NAME {
            return false;
        }
        self.text = text;
        true
    }

    /// Claims that were left out because there were too many, or too much text in them.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What the log says, one entry for each process.
    #[must_use]
    pub fn handed_out(&self) -> Vec<HandedOut> {
        self.processes.values().chain(&self.failed).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(pid: u32, what: ClaimKind) -> Claim {
        Claim { container: None, pid, time: None, what }
    }

    fn handed(pid: u32, bytes: u64) -> Claim {
        claim(pid, ClaimKind::HandedOut { stream: Stream::Stdout, bytes })
    }

    #[test]
    fn answers_add_up_and_an_empty_second_one_is_noted() {
        let mut account = Account::default();
        account.add(vec![handed(7, 10), handed(7, 5), handed(7, 0)], 0);
        let said = account.handed_out();
        let HandedOut { stdout, stderr, empty_again, .. } = &said[0];
        assert_eq!((stdout.said(), stderr.said(), *empty_again), (Some(15), None, 1));
    }

    #[test]
    fn a_number_used_again_begins_anew() {
        let mut account = Account::default();
        let started = claim(7, ClaimKind::Started { command: vec!["ls".into()] });
        account.add(vec![handed(7, 10), started], 0);
        let said = account.handed_out();
        assert_eq!((said.len(), said[0].stdout.said()), (1, None));
        assert_eq!(said[0].command, ["ls"]);
    }

    #[test]
    fn a_forged_log_fills_no_memory_and_what_is_left_out_is_counted() {
        let mut account = Account::default();
        account.add((0..MOST_KEPT as u32).map(|pid| handed(pid, 1)).collect(), 0);
        assert_eq!((account.handed_out().len(), account.left_out()), (MOST_KEPT, 0));
        account.add(vec![handed(70_000, 1), handed(7, 1)], 0);
        assert_eq!((account.handed_out().len(), account.left_out()), (MOST_KEPT, 1));
        assert_eq!(account.handed_out()[7].stdout.said(), Some(2));

        let mut account = Account::default();
        let command = vec!["x".repeat(1 << 20)];
        let started = |pid| claim(pid, ClaimKind::Started { command: command.clone() });
        account.add((0..40).map(started).collect(), 0);
        assert_eq!((account.handed_out().len(), account.left_out()), (31, 9));
        let named = Claim { container: Some("x".repeat(2000)), ..handed(1, 1) };
        account.add(vec![named], 0);
        assert_eq!(account.left_out(), 10);
    }

    #[test]
    fn a_claim_from_before_the_trace_is_left_out() {
        let mut account = Account::default();
        let old = Claim { time: Some(ClaimTime::UnixNanos(1)), ..handed(7, 10) };
        account.add(vec![old], 10_000_000_000);
        assert!(account.handed_out().is_empty());
    }
}
