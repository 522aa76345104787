//! Storms of processes, threads, pipes and writes, in a short form; `cargo xtask storm` runs longer ones.
//!
//! Each storm counts what it wrote. The report must be exact and without losses. If a table is too small on
//! purpose, the loss counters must be exact.

use anyhow::{Result, ensure};
use tracer_tests::storm::{TracedStorm, losses_for, losses_make_findings_unsure, trace};

fn exact(name: &str, size: u64) -> Result<TracedStorm> {
    let stormed = trace(name, size, &[])?;
    stormed.exact()?;
    Ok(stormed)
}

#[test]
#[ignore = "needs root"]
fn three_thousand_short_processes_are_counted_exactly() -> Result<()> {
    let stormed = exact("brief", 3_000)?;
    ensure!(stormed.truth.processes == 3_001 && stormed.truth.writes == 3_000);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn writers_that_keep_every_cpu_busy_are_counted_in_full() -> Result<()> {
    let stormed = exact("busy", 2)?;
    ensure!(stormed.truth.writes > 100_000, "not busy: {:?}", stormed.truth);
    Ok(())
}

/// The pipes are open at the same time. Each is listed with its bytes.
#[test]
#[ignore = "needs root"]
fn a_thousand_pipes_are_counted_separately() -> Result<()> {
    let stormed = exact("pipes", 1_000)?;
    let pipes = stormed.report.objects.iter().filter(|object| {
        object.kind == "pipe" && object.written > Some(0) && object.written == object.read
    });
    ensure!(pipes.count() as u64 == stormed.truth.pipes);
    Ok(())
}

/// Short processes with a pipe each, 200 at a time.
#[test]
#[ignore = "needs root"]
fn a_churn_of_processes_and_pipes_is_exact() -> Result<()> {
    let storm = exact("churn", 3_000)?;
    ensure!(storm.truth.processes == 3_000 && storm.truth.pipes == 3_000, "{:?}", storm.truth);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_thousand_threads_on_one_fd_add_up() -> Result<()> {
    exact("threads", 1_000).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_fork_bomb_is_counted_to_its_last_generation() -> Result<()> {
    let stormed = exact("bomb", 9)?;
    ensure!(stormed.truth.writes == 511, "{:?}", stormed.truth);
    Ok(())
}

/// Processes that do not fit are counted as lost; the others are exact.
#[test]
#[ignore = "needs root"]
fn processes_that_do_not_fit_are_counted_exactly() -> Result<()> {
    let stormed = trace("crowd", 500, &["--max-processes", "100"])?;
    let missing = stormed.truth.processes - stormed.processes();
    ensure!(missing >= 400, "only {missing} did not fit");
    let lost = losses_for(&stormed.report, "processes_full");
    ensure!(lost == missing, "{missing} are missing, processes_full is {lost}");
    let (writes, _) = stormed.written();
    ensure!(writes + missing == stormed.truth.writes, "{writes} writes of {:?}", stormed.truth);
    for (bytes, processes) in stormed.each() {
        let all = stormed.truth.each.get(&bytes).copied().unwrap_or(0);
        ensure!(processes <= all, "{processes} of {all} processes with {bytes} bytes");
    }
    losses_make_findings_unsure(&stormed.report, &["processes_full"])
}

/// Bytes without a row equal the missing bytes. The storm does not read, because reads can be lost, too.
#[test]
#[ignore = "needs root"]
fn bytes_that_do_not_fit_are_counted_exactly() -> Result<()> {
    let stormed = trace("unread", 1_000, &["--max-objects", "100"])?;
    let (writes, bytes) = stormed.written();
    let missing_calls = stormed.truth.writes - writes;
    let missing_bytes = stormed.truth.bytes - bytes;
    let lost = (
        losses_for(&stormed.report, "ledger_full"),
        stormed.report.lost_bytes.get("ledger_full").copied().unwrap_or(0),
    );
    ensure!(missing_bytes > 0, "everything fitted");
    ensure!(
        lost == (missing_calls, missing_bytes),
        "{missing_bytes} B of {missing_calls} calls are missing, ledger_full is {lost:?}"
    );
    ensure!(losses_for(&stormed.report, "objects_full") > 0, "{:?}", stormed.report.losses);
    losses_make_findings_unsure(&stormed.report, &["ledger_full", "objects_full"])
}
