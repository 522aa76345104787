//! Read ends of pipes that an `execve` or a `close_range` closes: the report says by whom and when.

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    expect,
    scenario::{Traced, trace},
    workload::Workload,
};

/// Runs a workload that waits before and after it closes the read end.
fn run(name: &str) -> Result<Traced> {
    let traced = trace(&Workload::new(name))?;
    expect::exact(&traced)?;
    Ok(traced)
}

/// The read end `end` of the pipe on `stdio` was closed by the workload, last of all, and between the first and the
/// last write to the pipe.
fn is_closed_in_time(traced: &Traced, stdio: i32, end: i32) -> Result<()> {
    /// The workload waits a little longer, in milliseconds.
    const APART: f64 = 250.0;
    let (pid, report) = (traced.workload.pid, &traced.report);
    let has_failed = |row: &&tracer_tests::report::FdRow| row.errors.contains_key("EPIPE");
    let mut rows = report.rows().filter(|(owner, row)| *owner == pid && row.fd == Some(stdio));
    let row = rows.find_map(|(_, row)| Some(row).filter(has_failed));
    let row = row.with_context(|| format!("no EPIPE on fd {stdio}"))?;
    let object = report.object(&row.object).with_context(|| row.object.clone())?;
    let close = object.closes.last().with_context(|| format!("no close: {object:#?}"))?;
    ensure!((close.pid, close.fd, close.by.as_str()) == (pid, end, "close"), "{object:#?}");
    let (first, last) = (row.first_write_ms.unwrap_or(0.0), row.last_write_ms.unwrap_or(0.0));
    let is_between = first + APART < close.at_ms && close.at_ms + APART < last;
    ensure!(is_between, "writes at {first} and {last} ms, {close:?}");
    Ok(())
}

/// One fd with a bit of its own in the kernel side's bitmap, and one above.
#[test]
#[ignore = "needs root"]
fn read_ends_closed_by_exec_are_told_at_the_time_of_the_exec() -> Result<()> {
    let traced = run("closed-by-exec")?;
    is_closed_in_time(&traced, 1, 9)?;
    is_closed_in_time(&traced, 2, 300)
}

#[test]
#[ignore = "needs root"]
fn a_read_end_among_the_last_of_a_wide_range_is_told_when_it_is_closed() -> Result<()> {
    is_closed_in_time(&run("closed-in-a-range")?, 1, 590)
}

#[test]
#[ignore = "needs root"]
fn standard_fds_closed_in_one_range_are_told_one_by_one() -> Result<()> {
    let traced = run("stdio-in-a-range")?;
    let process = traced.report.of_pid(traced.workload.pid).next().context("no process")?;
    let closed: Vec<_> = process.facts.iter().filter(|fact| fact.kind == "fd_closed").collect();
    let fds: Vec<_> = closed.iter().map(|fact| fact.fd).collect();
    ensure!(fds == [Some(0), Some(1), Some(2)], "{closed:?}");
    Ok(())
}
