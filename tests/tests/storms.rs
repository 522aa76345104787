//! More of everything than on a quiet day, in the short form; `cargo xtask storm` has the long one.
//!
//! Each storm says itself what it wrote. Sums must be exact and nothing lost; where a table is too small on
//! purpose, what is missing is what the loss counters say, to the unit.

use anyhow::{Result, ensure};
use tracer_tests::storm::{Stormed, doubts, lost, trace};

fn exact(name: &str, much: u64) -> Result<Stormed> {
    let stormed = trace(name, much, &[])?;
    stormed.exact()?;
    Ok(stormed)
}

#[test]
#[ignore = "needs root"]
fn three_thousand_short_processes_are_counted_one_by_one() -> Result<()> {
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

/// All open at once; each is listed with the bytes that went through it.
#[test]
#[ignore = "needs root"]
fn a_thousand_pipes_are_told_apart() -> Result<()> {
    let stormed = exact("pipes", 1_000)?;
    let pipes = stormed.report.objects.iter().filter(|object| {
        object.kind == "pipe" && object.written > Some(0) && object.written == object.read
    });
    ensure!(pipes.count() as u64 == stormed.truth.pipes);
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

/// Whoever finds no room is counted; whoever found it is exact.
#[test]
#[ignore = "needs root"]
fn processes_that_find_no_room_are_counted_to_the_unit() -> Result<()> {
    let stormed = trace("crowd", 500, &["--max-processes", "100"])?;
    let missing = stormed.truth.processes - stormed.processes();
    ensure!(missing >= 400, "only {missing} found no room");
    let said = lost(&stormed.report, "processes_full");
    ensure!(said == missing, "{missing} are missing, processes_full says {said}");
    let (writes, _) = stormed.written();
    ensure!(writes + missing == stormed.truth.writes, "{writes} writes of {:?}", stormed.truth);
    for (bytes, processes) in stormed.each() {
        let all = stormed.truth.each.get(&bytes).copied().unwrap_or(0);
        ensure!(processes <= all, "{processes} processes with {bytes} bytes, {all} there were");
    }
    doubts(&stormed.report, &["processes_full"])
}

/// Bytes that found no row are those that are missing. Nobody reads here: a read can be lost as well.
#[test]
#[ignore = "needs root"]
fn bytes_that_find_no_room_are_counted_to_the_unit() -> Result<()> {
    let stormed = trace("unread", 1_000, &["--max-objects", "100"])?;
    let (writes, bytes) = stormed.written();
    let missing_calls = stormed.truth.writes - writes;
    let missing_bytes = stormed.truth.bytes - bytes;
    let said = (
        lost(&stormed.report, "ledger_full"),
        stormed.report.lost_bytes.get("ledger_full").copied().unwrap_or(0),
    );
    ensure!(missing_bytes > 0, "everything found room");
    ensure!(
        said == (missing_calls, missing_bytes),
        "{missing_bytes} B of {missing_calls} calls are missing, ledger_full says {said:?}"
    );
    ensure!(lost(&stormed.report, "objects_full") > 0, "{:?}", stormed.report.losses);
    doubts(&stormed.report, &["ledger_full", "objects_full"])
}
