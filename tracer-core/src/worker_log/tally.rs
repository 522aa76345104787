//! Adds up statements: what a log claims about each process.

use std::collections::BTreeMap;

use super::{Statement, StatementKind, StatementTime, Stream};
use crate::event::{Claim, Replies};

/// Tolerance for times in a log: seconds are rounded down, and the clock is another process's.
const TOLERANCE_NS: i64 = 2_000_000_000;

/// Adds up the statements of one log.
#[derive(Debug, Default)]
pub struct ClaimTally {
    /// By container and pid. A reused pid is another process; only the latest one counts.
    processes: BTreeMap<(Option<String>, u32), Claim>,
    /// Failed commands without a pid.
    failed: Vec<Claim>,
    /// Bytes of commands and container names in both.
    text: usize,
    /// Statements that were dropped because of a limit.
    left_out: u64,
}

/// Maximal number of processes and failed commands of one log: a guest may forge lines of the console form.
const MAX_KEPT: usize = 1 << 16;
/// Maximal size of their commands and container names, in bytes.
const MAX_TEXT: usize = 32 << 20;
/// Maximal length of a container's name, in bytes.
const MAX_NAME: usize = 1 << 10;

impl ClaimTally {
    /// Adds statements. Ignores those from before the trace, which are about other processes.
    pub fn add(&mut self, statements: Vec<Statement>, trace_began_unix_ns: i64) {
        let is_old = |statement: &Statement| match statement.time {
            Some(StatementTime::UnixNanos(at)) => at < trace_began_unix_ns - TOLERANCE_NS,
            _ => false,
        };
        statements
            .into_iter()
            .filter(|statement| !is_old(statement))
            .for_each(|statement| self.add_one(statement));
    }

    fn add_one(&mut self, statement: Statement) {
        if !self.has_room(&statement) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let key = (statement.container.clone(), statement.pid);
        let fresh = || Claim {
            pid: statement.pid,
            container: statement.container.clone(),
            command: Vec::new(),
            stdout: Replies::default(),
            stderr: Replies::default(),
            empty_again: 0,
        };
        match statement.what {
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

    /// Charges the memory of a statement; returns whether it is within the limits. A known process takes no further
    /// memory.
    fn has_room(&mut self, statement: &Statement) -> bool {
        let name = statement.container.as_ref().map_or(0, String::len);
        let command = match &statement.what {
            StatementKind::Started { command } | StatementKind::Failed { command } => {
                // Even an empty string takes memory.
                command.iter().map(|word| word.len() + size_of::<String>()).sum()
            }
            StatementKind::Returned { .. } => {
                if self.processes.contains_key(&(statement.container.clone(), statement.pid)) {
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

    /// Number of statements that were dropped because of a limit.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The claims of the log, one for each process.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        self.processes.values().chain(&self.failed).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(pid: u32, what: StatementKind) -> Statement {
        Statement { container: None, pid, time: None, what }
    }

    fn returned(pid: u32, bytes: u64) -> Statement {
        statement(pid, StatementKind::Returned { stream: Stream::Stdout, bytes })
    }

    #[test]
    fn replies_add_up_and_an_empty_later_one_is_counted() {
        let mut tally = ClaimTally::default();
        tally.add(vec![returned(7, 10), returned(7, 5), returned(7, 0)], 0);
        let claims = tally.claims();
        let Claim { stdout, stderr, empty_again, .. } = &claims[0];
        assert_eq!((stdout.claimed(), stderr.claimed(), *empty_again), (Some(15), None, 1));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut tally = ClaimTally::default();
        let started = statement(7, StatementKind::Started { command: vec!["ls".into()] });
        tally.add(vec![returned(7, 10), started], 0);
        let claims = tally.claims();
        assert_eq!((claims.len(), claims[0].stdout.claimed()), (1, None));
        assert_eq!(claims[0].command, ["ls"]);
    }

    #[test]
    fn a_forged_log_fills_no_memory_and_what_is_left_out_is_counted() {
        let mut tally = ClaimTally::default();
        tally.add((0..MAX_KEPT as u32).map(|pid| returned(pid, 1)).collect(), 0);
        assert_eq!((tally.claims().len(), tally.left_out()), (MAX_KEPT, 0));
        tally.add(vec![returned(70_000, 1), returned(7, 1)], 0);
        assert_eq!((tally.claims().len(), tally.left_out()), (MAX_KEPT, 1));
        assert_eq!(tally.claims()[7].stdout.claimed(), Some(2));

        let mut tally = ClaimTally::default();
        let command = vec!["x".repeat(1 << 20)];
        let started = |pid| statement(pid, StatementKind::Started { command: command.clone() });
        tally.add((0..40).map(started).collect(), 0);
        assert_eq!((tally.claims().len(), tally.left_out()), (31, 9));
        let named = Statement { container: Some("x".repeat(2000)), ..returned(1, 1) };
        tally.add(vec![named], 0);
        assert_eq!(tally.left_out(), 10);
    }

    #[test]
    fn a_statement_from_before_the_trace_is_ignored() {
        let mut tally = ClaimTally::default();
        let old = Statement { time: Some(StatementTime::UnixNanos(1)), ..returned(7, 10) };
        tally.add(vec![old], 10_000_000_000);
        assert!(tally.claims().is_empty());
    }
}
