//! A month of the recorder in a short form; `cargo xtask storm --recorder` runs a longer one.

use anyhow::{Result, ensure};
use tracer_tests::{
    recorder_storm::{Goal, Outcome, Size, run},
    workload::sibling_binary,
};

/// Every planted loss is told, nothing else, and each byte. After so few jobs memory has not its size yet.
#[test]
#[ignore = "needs root"]
fn fifteen_hundred_jobs_are_told_exactly() -> Result<()> {
    let size = Size { jobs: 1_500, rate: 300, loss_each: 25, parts: 2 };
    let Outcome { account, goals, .. } =
        run(sibling_binary("jobs")?.as_ref(), size, |progress| println!("{progress}"))?;
    let (planted, programs) = (account.planted.len(), account.executed);
    ensure!(planted == 60 && programs >= 120, "{planted} planted, {programs} programs");
    let is_wanted = |goal: &&Goal| !goal.is_reached && !goal.text.contains("relative");
    let wrong: Vec<_> = goals.iter().filter(is_wanted).collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
