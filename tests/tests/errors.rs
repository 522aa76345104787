//! Failed, short, interrupted and empty writes.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect,
    report::{FdRow, Process},
    scenario::{Traced, trace},
    stdio::Kind,
    workload::Workload,
};

/// Traces a scenario whose outputs are read at once; the report must be exact.
fn exact(name: &str, kind: Kind) -> Result<Traced> {
    let traced = trace(&Workload::new(name).on(kind))?;
    expect::exact(&traced)?;
    Ok(traced)
}

/// Like [`exact`], with outputs that are not read before the workload ends.
fn exact_unread(name: &str, kind: Kind) -> Result<Traced> {
    let traced = trace(&Workload::new(name).on(kind).unread())?;
    expect::exact(&traced)?;
    Ok(traced)
}

fn stdout_row(traced: &Traced) -> Result<&FdRow> {
    let pid = traced.workload.pid;
    let mut rows = traced.report.rows().filter(|(owner, row)| *owner == pid && row.fd == Some(1));
    rows.find(|(_, row)| row.writes > 0).map(|(_, row)| row).context("fd 1 is not listed")
}

fn has_findings(traced: &Traced) -> Result<()> {
    ensure!(traced.tracer.status.code() == Some(1), "exit code: {:?}", traced.tracer.status);
    ensure!(!traced.report.findings.is_empty(), "no finding");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn writes_to_a_readerless_pipe_are_counted_as_epipe() -> Result<()> {
    has_findings(&exact("epipe", Kind::ReaderlessPipe)?)
}

#[test]
#[ignore = "needs root"]
fn writes_to_a_full_non_blocking_pipe_are_counted_as_eagain() -> Result<()> {
    let traced = exact_unread("eagain", Kind::Pipe)?;
    let requested: u64 = traced.workload.truth.rows().map(|(_, row)| row.refused).sum();
    let refused = stdout_row(&traced)?.refused_bytes;
    ensure!(refused == Some(requested), "{requested} bytes were refused, reported is {refused:?}");
    has_findings(&traced)
}

/// The failed write is counted, but its bytes are written later, so nothing is lost.
#[test]
#[ignore = "needs root"]
fn a_refused_write_that_succeeds_later_is_no_finding() -> Result<()> {
    let traced = exact_unread("eagain-overcome", Kind::Pipe)?;
    let refusals = traced.report.findings.iter().filter(|finding| finding.rule == "refused");
    ensure!(refusals.count() == 0, "{:?}", traced.report.findings);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn writes_to_a_closed_fd_are_counted_as_ebadf() -> Result<()> {
    has_findings(&exact("ebadf", Kind::Pipe)?)
}

#[test]
#[ignore = "needs root"]
fn writes_to_a_full_device_are_counted_as_enospc() -> Result<()> {
    has_findings(&exact("enospc", Kind::Full)?)
}

#[test]
#[ignore = "needs root"]
fn writes_to_a_hung_up_terminal_are_counted_as_eio() -> Result<()> {
    has_findings(&exact("eio", Kind::HungUpPty)?)
}

#[test]
#[ignore = "needs root"]
fn an_interrupted_send_with_a_timeout_is_counted_as_eintr() -> Result<()> {
    exact_unread("eintr-socket", Kind::Socket).map(drop)
}

/// In the kernel the call returns `-ERESTARTSYS`. Whether the program gets `EINTR` depends on the flags
/// of its signal handler.
#[test]
#[ignore = "needs root"]
fn an_interrupted_pipe_write_without_sa_restart_is_counted_as_eintr() -> Result<()> {
    exact_unread("eintr-pipe", Kind::Pipe).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_restarted_write_is_counted_once_and_is_no_error() -> Result<()> {
    exact("restarted", Kind::Pipe).map(drop)
}

/// SIGSTOP interrupts a write that SIGCONT restarts. A handler that runs later has nothing to do with that write.
#[test]
#[ignore = "needs root"]
fn a_write_restarted_after_a_stop_is_no_error_when_a_handler_runs_later() -> Result<()> {
    exact("stopped", Kind::Pipe).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_short_write_is_counted_with_the_accepted_bytes() -> Result<()> {
    let traced = exact_unread("short", Kind::Pipe)?;
    let short = stdout_row(&traced)?.short;
    ensure!(short == 1, "one write was short, {short} reported");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn zero_byte_writes_are_counted_as_such() -> Result<()> {
    let traced = exact("zero", Kind::Pipe)?;
    let zero = stdout_row(&traced)?.zero;
    ensure!(zero == 3, "three writes were empty, {zero} reported");
    Ok(())
}

fn victim_of(traced: &Traced, signal: i32) -> Result<&Process> {
    let mut victims = traced.report.processes.iter().filter(|process| {
        process.pid != traced.workload.pid
            && process.exit.is_some_and(|exit| exit.signal == Some(signal))
    });
    victims.next().with_context(|| format!("no process is reported as killed by {signal}"))
}

#[test]
#[ignore = "needs root"]
fn bytes_accepted_before_a_kill_during_a_write_are_counted() -> Result<()> {
    let traced = exact("sigkill", Kind::Pipe)?;
    victim_of(&traced, libc::SIGKILL)?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn death_by_sigpipe_is_reported_with_the_failed_write() -> Result<()> {
    let traced = exact("sigpipe", Kind::Pipe)?;
    victim_of(&traced, libc::SIGPIPE)?;
    Ok(())
}
