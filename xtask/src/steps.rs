//! The steps of a task that goes on after one has failed, and their table.

use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use xtask::command::say;

use crate::tally::Tally;

/// The result of a step that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The check passed.
    Passed,
    /// The check cannot run on this machine, which is no failure.
    Skipped,
}

/// The steps that ran. Displayed, it is their table.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    time: Duration,
    /// `None` if it failed.
    outcome: Option<Checked>,
}

impl Report {
    /// Runs a step. Its failure is printed at once.
    pub(crate) fn perform(&mut self, name: &'static str, step: impl FnOnce() -> Result<Checked>) {
        say(&format!("== {name}"));
        let start = Instant::now();
        let outcome = step();
        if let Err(error) = &outcome {
            say(&format!("{name}: {error:#}"));
        }
        self.rows.push(Row { name, time: start.elapsed(), outcome: outcome.ok() });
    }

    /// Whether a step has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.outcome.is_none())
    }

    /// Prints the table, then the tests' sum on the last line.
    pub(crate) fn finish(self, tally: Tally) -> Result<ExitCode> {
        eprint!("\n{self}\n");
        tally.print()?;
        Ok(if self.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { name, time, outcome } in &self.rows {
            let outcome = match outcome {
                Some(Checked::Passed) => "ok",
                Some(Checked::Skipped) => "not checked",
                None => "FAILED",
            };
            writeln!(f, "{name:<22}{:>9.1} s  {outcome}", time.as_secs_f64())?;
        }
        let total: Duration = self.rows.iter().map(|row| row.time).sum();
        writeln!(f, "{:<22}{:>9.1} s", "total", total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_step_does_not_stop_the_next_one_and_fails_the_run() {
        let mut report = Report::default();
        report.perform("first", || bail!("broken"));
        report.perform("second", || Ok(Checked::Passed));
        report.perform("third", || Ok(Checked::Skipped));
        report.rows.iter_mut().for_each(|row| row.time = Duration::from_millis(1500));
        assert_eq!(
            report.to_string(),
            "first                       1.5 s  FAILED\n\
             second                      1.5 s  ok\n\
             third                       1.5 s  not checked\n\
             total                       4.5 s\n"
        );
        assert!(report.has_failed());
    }
}
