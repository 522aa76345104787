//! The questions of the original bug report about docker commands under a process manager: did the
//! command write, to which stream, did the manager read it, did the manager deliver it?
//!
//! Needs a running `dockerd` and, in `TRACER_TEST_IMAGE`, an image in a registry on this machine.

use anyhow::{Result, ensure};
use tracer_tests::{
    docker::{image, remove_image},
    goproc::{Behaviour, LogFormat},
    managed::{Goproc, Managed},
};

fn managed(argv: &[&str]) -> Result<Managed> {
    let managed = Goproc::new(Behaviour::Faithful).trace(argv)?;
    managed.check()?;
    Ok(managed)
}

/// Bytes that the manager read from stdout and stderr.
fn received(managed: &Managed) -> (u64, u64) {
    (managed.account.stdout.read, managed.account.stderr.read)
}

/// "It wrote nothing": it wrote to stderr, and failed.
#[test]
#[ignore = "needs root and docker"]
fn a_pull_with_an_unknown_flag_writes_to_stderr() -> Result<()> {
    let managed = managed(&["docker", "pull", "--progress=plain", &image()?])?;
    let (out, err) = received(&managed);
    ensure!(out == 0 && err > 0 && managed.account.code == Some(125), "{:?}", managed.account);
    let finding = managed.headline("other_stream")?.about(managed.account.pid)?;
    finding.expect("stdout_bytes", 0)?.expect("stderr_bytes", err)?;
    ensure!(finding.severity == "warning", "{finding:?}");
    Ok(())
}

/// "The pull shows no output": it wrote, and the manager read and delivered everything.
#[test]
#[ignore = "needs root and docker"]
fn a_pull_with_all_output_in_the_log_is_delivered() -> Result<()> {
    let image = image()?;
    remove_image(&image)?;
    let goproc = Goproc::new(Behaviour::Empties).logging(LogFormat::Console);
    let managed = goproc.trace(&["docker", "pull", &image])?;
    managed.check()?;
    let (out, err) = received(&managed);
    ensure!(out > 0 && err == 0 && managed.account.code == Some(0), "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    let claim = managed.report.claim(managed.account.pid, "stdout")?;
    ensure!((claim.read, claim.handed_out) == (Some(out), Some(out)), "{claim:?}");
    Ok(())
}

/// The same pull with a manager that loses the first answer.
#[test]
#[ignore = "needs root and docker"]
fn a_pull_whose_output_is_not_in_the_log_is_lost_in_the_manager() -> Result<()> {
    let image = image()?;
    remove_image(&image)?;
    let goproc = Goproc::new(Behaviour::Retry).logging(LogFormat::Console);
    let managed = goproc.trace(&["docker", "pull", &image])?;
    managed.check()?;
    let (out, _) = received(&managed);
    ensure!(out > 0 && managed.account.code == Some(0), "{:?}", managed.account);
    let finding = managed.headline("read_then_lost")?.about(managed.account.pid)?;
    finding.expect("read", out)?.expect("handed_out", 0)?.expect("lost", out)?;
    Ok(())
}

/// `docker version` checks both streams for a terminal.
#[test]
#[ignore = "needs root and docker"]
fn a_client_that_checks_for_a_terminal_is_reported() -> Result<()> {
    let managed = managed(&["docker", "version"])?;
    let (out, _) = received(&managed);
    ensure!(out > 0 && managed.account.code == Some(0), "{:?}", managed.account);
    let finding = managed.headline("delivered")?.about(managed.account.pid)?;
    finding.expect("no_terminal", vec![1, 2])?.expect("stdout_bytes", out)?;
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_client_without_a_daemon_is_reported_with_the_socket() -> Result<()> {
    let host = Goproc::new(Behaviour::Faithful).env("DOCKER_HOST", "unix:///tmp/nope.sock");
    let managed = host.trace(&["docker", "ps"])?;
    managed.check()?;
    let (out, err) = received(&managed);
    ensure!(out == 0 && err > 0 && managed.account.code == Some(1), "{:?}", managed.account);
    let finding = managed.report.finding("daemon_unreachable")?.about(managed.account.pid)?;
    ensure!(finding.message.contains("/tmp/nope.sock"), "{finding:?}");
    managed.report.finding("other_stream")?;
    managed.report.check_exit_code(managed.tracer.status.code())
}

/// The message is on stderr, and the exit code shows the failure.
#[test]
#[ignore = "needs root and docker"]
fn a_run_that_cannot_start_writes_to_stderr() -> Result<()> {
    let managed = managed(&["docker", "run", "--rm", "--entrypoint", "/none", &image()?])?;
    let (out, err) = received(&managed);
    ensure!(out == 0 && err > 0 && managed.account.code == Some(127), "{:?}", managed.account);
    managed.headline("other_stream")?.about(managed.account.pid)?.expect("stderr_bytes", err)?;
    Ok(())
}
