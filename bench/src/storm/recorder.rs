//! A month of the recorder in fast forward: `cargo xtask storm --recorder`.
//!
//! The jobs are those of the tests' program `jobs`. 94 of 100 are forked straight into the recorded cgroup, with two pipes
//! of their own, and execute no program: their parent is outside, so the recorder judges each by itself. The others
//! execute one. Among them are services that write now and then, slow writers, and planted losses.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use tracer_tests::recorder_storm::{self, Goal, Outcome, Size};
use xtask::{
    command::say,
    setup::{self, Extras},
    workspace::Workspace,
};

use crate::harness::{
    fixture::Fixture,
    table::{Table, number, whole},
};

/// Jobs of a whole storm.
pub(super) const JOBS: u64 = 2_000_000;
/// Jobs each second: two million in 48 minutes. A month with ten million has four each second.
pub(super) const RATE: u64 = 700;
/// How many parts the storm has. Memory is compared with its size after the first one.
const PARTS: u64 = 10;

/// Builds, runs the storm, and prints its table.
pub(super) fn run(workspace: &Workspace, jobs: u64, rate: u64) -> Result<()> {
    ensure!(jobs >= PARTS, "a storm has {PARTS} jobs at least");
    let ready = setup::ensure(workspace, Extras::default())?;
    let fixture = Fixture::prepare(workspace, &ready)?;
    let size = Size { jobs, rate, loss_each: (jobs / 1_200).clamp(10, 1_000), parts: PARTS };
    say(&format!("{} jobs under tracer daemon", whole(jobs)));
    let outcome = recorder_storm::run(&fixture.jobs, size, say)?;
    let text = text(&outcome)?;
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    let missed = outcome.goals.iter().filter(|goal| !goal.is_reached).map(|goal| goal.text);
    let missed: Vec<_> = missed.collect();
    if !missed.is_empty() {
        bail!("not reached: {}", missed.join(", "));
    }
    Ok(())
}

fn text(outcome: &Outcome) -> Result<String> {
    let Outcome { account, goals, cpu_us, history } = outcome;
    let facts = [
        format!(
            "{} jobs, {} with a program of their own",
            whole(account.jobs),
            whole(account.executed)
        ),
        format!("{} planted", whole(account.planted.len() as u64)),
        format!("{} jobs/s", number(account.jobs as f64 / account.seconds)),
        format!("the recorder took {} µs for each", number(*cpu_us)),
        format!("a history of {} B for each", whole(history / account.jobs.max(1))),
    ];
    Ok(format!("{}{}.\n\n{}", super::header()?, facts.join("; "), table(goals)))
}

fn table(goals: &[Goal]) -> String {
    let mut table = Table::new(&["goal", "bound", "measured", "reached"]);
    for goal in goals {
        let reached = if goal.is_reached { "yes" } else { "**no**" };
        let measured = goal.measured.replace('|', "/");
        table.add(vec![goal.text.to_owned(), goal.bound.clone(), measured, reached.to_owned()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_was_missed_is_marked() {
        let goals = [true, false].map(|is| Goal::new("memory", "≤ 64 MB", is).measured("65 | 66"));
        let table = table(&goals);
        assert_eq!((table.matches("yes").count(), table.matches("**no**").count()), (1, 1));
        assert!(table.contains("65 / 66"), "{table}");
    }
}
