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
}

/// Failed commands that are kept.
const MOST_FAILED: usize = 4096;

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
                if self.failed.len() < MOST_FAILED {
                    self.failed.push(HandedOut { command, ..fresh() });
                }
            }
            ClaimKind::HandedOut { stream, bytes } => {
                let known = self.processes.entry(key).or_insert_with(fresh);
                let answers = match stream {
                    Stream::Stdout => &mut known.stdout,
                    Stream::Stderr => &mut known.stderr,
                };
                if bytes == 0 && answers.bytes > 0 {
                    known.empty_again += 1;
                }
                answers.lines += 1;
                answers.bytes = answers.bytes.saturating_add(bytes);
            }
        }
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
    fn a_claim_from_before_the_trace_is_left_out() {
        let mut account = Account::default();
        let old = Claim { time: Some(ClaimTime::UnixNanos(1)), ..handed(7, 10) };
        account.add(vec![old], 10_000_000_000);
        assert!(account.handed_out().is_empty());
    }
}
