//! Output that is lost, late or blocked in a pipe: closed read ends, blocked writers, other readers.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::{
    deadline::wait_until,
    goproc::{Behaviour, FIVE_THOUSAND, Stage},
    managed::{Goproc, Managed, TracedGoproc},
    procfs::is_blocked_in_write,
    report::Finding,
    workload::sibling_binary,
};

/// Time for which a writer is blocked, or a pipe stays open after its leader has ended. The rules require
/// some time.
const A_WHILE: Duration = Duration::from_secs(1);
/// Capacity of a pipe in bytes.
const PIPE: u64 = 65_536;

/// Checks that the finding names the manager as the closer, with a time.
fn closed_by_manager(finding: &Finding, managed: &Managed) -> Result<()> {
    finding.expect("closer_pid", managed.account.manager)?.expect("closer_comm", "goproc")?;
    ensure!(finding.fact("closed_ms")?.is_number(), "closed_ms: {finding:?}");
    Ok(())
}

/// Checks a run in which the manager closed the pipe with this many unread bytes.
fn unread(managed: &Managed, bytes: u64) -> Result<()> {
    managed.check()?;
    ensure!(managed.account.stdout.unread == Some(bytes), "{:?}", managed.account);
    let finding = managed.headline("unread")?.about(managed.account.pid)?;
    finding.expect("unread", bytes)?.expect("reader_alive", false)?;
    closed_by_manager(finding, managed)?;
    let stdout = managed.stdout()?;
    let closer = stdout.closes.last().context("no close is listed")?;
    ensure!(
        (closer.pid, closer.comm.as_str()) == (managed.account.manager, "goproc"),
        "{closer:?}"
    );
    // The pipe is gone, so its content may be unknown.
    ensure!(stdout.inside.is_none_or(|inside| inside == bytes), "{stdout:?}");
    ensure!(stdout.capacity == Some(PIPE), "{stdout:?}");
    Ok(())
}

/// The manager waits until the command ends and closes without reading.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_without_reading_leaves_everything_unread() -> Result<()> {
    unread(&Goproc::new(Behaviour::NoRead).trace(&FIVE_THOUSAND)?, 5000)
}

/// The manager reads a part and closes when the command ends.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_at_exit_loses_the_unread_rest() -> Result<()> {
    unread(&Goproc::new(Behaviour::NoRead).bytes(100).trace(&FIVE_THOUSAND)?, 4900)
}

/// The manager kills the command and closes without reading the rest.
#[test]
#[ignore = "needs root"]
fn a_manager_that_kills_and_closes_loses_unread_bytes() -> Result<()> {
    let waiting = ["sh", "-c", "head -c 5000 /dev/zero; exec sleep 60"];
    let managed = Goproc::new(Behaviour::KillClose).bytes(5000).trace(&waiting)?;
    ensure!(managed.account.signal == Some(libc::SIGKILL), "{:?}", managed.account);
    unread(&managed, 5000)
}

/// Everything was read. The next write has no reader, and SIGPIPE kills the writer.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_early_is_named_at_the_next_write() -> Result<()> {
    let script = r#"head -c 100 /dev/zero; head -c 1 "$GOPROC_LATER" >/dev/null; echo more"#;
    let mut trace = Goproc::new(Behaviour::CloseEarly).bytes(100).begin(&["sh", "-c", script])?;
    trace.running.account_at(Stage::Closed)?;
    trace.running.resume_command()?;
    let managed = trace.finish()?;
    managed.check()?;
    ensure!(managed.account.signal == Some(libc::SIGPIPE), "{:?}", managed.account);
    let finding = managed.headline("reader_gone")?.about(managed.account.pid)?;
    finding.expect("refusals", 1)?;
    closed_by_manager(finding, &managed)
}

/// The same with an endless writer: the manager closes a pipe with unread bytes.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_early_ends_an_endless_writer() -> Result<()> {
    let managed = Goproc::new(Behaviour::CloseEarly).bytes(100).trace(&["yes"])?;
    ensure!(managed.account.signal == Some(libc::SIGPIPE), "{:?}", managed.account);
    let finding = managed.report.finding("reader_gone")?.about(managed.account.pid)?;
    closed_by_manager(finding, &managed)?;
    managed.report.check_exit_code(managed.tracer.status.code())?;
    // The manager does not know of writes between its last check and the close; the kernel counts them.
    let stdout = managed.stdout()?;
    ensure!(stdout.read == Some(100) && stdout.balanced != Some(false), "{stdout:?}");
    tracer_tests::expect::no_losses(&managed.report)
}

/// The manager is killed. Writes after that have no reader.
#[test]
#[ignore = "needs root"]
fn a_killed_manager_takes_its_read_ends_with_it() -> Result<()> {
    let script = r#"head -c 1 "$GOPROC_LATER" >/dev/null; echo late"#;
    let mut trace = Goproc::new(Behaviour::Faithful).begin(&["sh", "-c", script])?;
    let account = trace.running.account_at(Stage::Started)?;
    trace.running.kill()?;
    trace.running.resume_command()?;
    let managed = trace.after_kill()?;
    let finding = managed.headline("reader_gone")?.about(account.pid)?;
    closed_by_manager(finding, &managed)?;
    tracer_tests::expect::no_losses(&managed.report)
}

/// The manager made the pipe non-blocking; 64,000 of 400,000 bytes fit.
#[test]
#[ignore = "needs root"]
fn refused_bytes_are_reported_with_the_process_that_made_the_pipe_non_blocking() -> Result<()> {
    let managed = Goproc::new(Behaviour::Nonblock)
        .trace(&[&sibling_binary("workload")?, "ignores-errors"])?;
    managed.check()?;
    ensure!(managed.account.stdout.read == 64_000, "{:?}", managed.account);
    let finding = managed.headline("refused")?.about(managed.account.pid)?;
    finding
        .expect("error", "EAGAIN")?
        .expect("refusals", 3360)?
        .expect("nonblock_pid", managed.account.manager)?
        .expect("nonblock_comm", "goproc")?;
    // Only the program knows which refused bytes it repeated, so the row has their sum.
    let mut rows = managed.report.rows();
    let row = rows.find(|(pid, row)| *pid == managed.account.pid && row.fd == Some(1));
    let refused = row.and_then(|(_, row)| row.refused_bytes);
    ensure!(refused == Some(336_000), "{refused:?} bytes refused");
    Ok(())
}

/// The program made its pipe non-blocking, wrote what fitted and exited with success.
#[test]
#[ignore = "needs root"]
fn a_program_that_made_its_full_pipe_non_blocking_is_named() -> Result<()> {
    // The manager does not read, so exactly the capacity of the pipe fits.
    let managed = Goproc::new(Behaviour::NoRead).trace(&[&sibling_binary("workload")?, "short"])?;
    managed.check()?;
    ensure!(managed.account.code == Some(0), "{:?}", managed.account);
    let finding = managed.report.finding("refused")?.about(managed.account.pid)?;
    finding
        .expect("error", "EAGAIN")?
        .expect("refused_bytes", 34_465)?
        .expect("nonblock_pid", managed.account.pid)?
        .expect("nonblock_comm", "workload")?;
    managed.report.check_exit_code(managed.tracer.status.code())
}

/// Traces until the command has been blocked in a write to `fd` for [`A_WHILE`].
fn blocked(goproc: &Goproc, scenario: &str, fd: i32) -> Result<Managed> {
    let trace = goproc.begin(&[&sibling_binary("workload")?, scenario])?;
    let account = trace.running.account_at(Stage::Started)?;
    wait_until("the command to block in write", || {
        Ok(is_blocked_in_write(account.pid, fd).then_some(()))
    })?;
    thread::sleep(A_WHILE);
    trace.interrupt()
}

fn stuck(managed: &Managed, inside: u64) -> Result<&Finding> {
    tracer_tests::expect::no_losses(&managed.report)?;
    let finding = managed.headline("stuck")?.about(managed.account.pid)?;
    // The sleeping thread was seen, however late tracer came.
    ensure!(finding.confidence == "certain", "{finding:?}");
    finding
        .expect("inside", inside)?
        .expect("capacity", PIPE)?
        .expect("asleep_in", "write")?
        .expect("reader_pid", managed.account.manager)?
        .expect("reader_comm", "goproc")
}

/// The reader keeps the pipe open and never reads.
#[test]
#[ignore = "needs root"]
fn a_writer_blocked_at_a_full_pipe_is_stuck_and_the_idle_reader_is_named() -> Result<()> {
    let managed = blocked(&Goproc::new(Behaviour::Stall), "fills-stdout", 1)?;
    let finding = stuck(&managed, PIPE)?;
    finding.expect("reader_last_read_ms", Value::Null)?.expect("reader_waits_on", Value::Null)?;
    let stdout = managed.stdout()?;
    ensure!(stdout.inside == Some(PIPE) && stdout.balanced != Some(false), "{stdout:?}");
    Ok(())
}

/// A pipe is full when all its pages are in use, which can be with fewer bytes than its capacity.
#[test]
#[ignore = "needs root"]
fn a_reader_that_stopped_reading_is_reported_with_its_last_read() -> Result<()> {
    let managed = blocked(&Goproc::new(Behaviour::NoRead).bytes(100), "fills-stdout", 1)?;
    let finding = stuck(&managed, PIPE - 100)?;
    ensure!(finding.fact("reader_last_read_ms")?.is_number(), "{finding:?}");
    ensure!(managed.stdout()?.read == Some(100), "{:?}", managed.stdout());
    Ok(())
}

/// The command fills stderr while the manager waits for end of file on stdout.
#[test]
#[ignore = "needs root"]
fn a_deadlock_of_two_streams_names_the_stream_the_reader_waits_on() -> Result<()> {
    let managed = blocked(&Goproc::new(Behaviour::StdoutOnly), "fills-stderr", 2)?;
    let finding = stuck(&managed, PIPE)?;
    finding.expect("reader_waits_on", managed.account.stdout.object.as_str())?;
    Ok(())
}

/// Traces until a descendant has outlived the first process for [`A_WHILE`].
fn late(behaviour: Behaviour, stage: Stage, script: &str) -> Result<TracedGoproc> {
    let trace = Goproc::new(behaviour).begin(&["sh", "-c", script])?;
    trace.running.account_at(stage)?;
    thread::sleep(A_WHILE);
    Ok(trace)
}

const LATE_ECHO: &str =
    r#"echo direct; (head -c 1 "$GOPROC_LATER" >/dev/null; echo late) & exit 0"#;

/// A descendant writes after the command has ended; everything arrives.
#[test]
#[ignore = "needs root"]
fn a_descendant_that_writes_later_is_named() -> Result<()> {
    let mut trace = late(Behaviour::Faithful, Stage::Exited, LATE_ECHO)?;
    trace.running.resume_command()?;
    let managed = trace.finish()?;
    managed.check()?;
    let leader = managed.account.pid;
    let late = managed.stdout()?.writers.iter().find(|writer| writer.pid != leader);
    let late = late.context("only the leader wrote")?;
    ensure!(managed.account.stdout.read == 12 && late.bytes == 5, "{:?}", managed.account);
    let finding = managed.headline("late_writer")?.about(leader)?;
    finding
        .expect("late_pid", late.pid)?
        .expect("late_comm", "sh")?
        .expect("late_bytes", 5)?
        .expect("still_open", false)?;
    ensure!(finding.fact("leader_end_ms")?.is_number(), "{finding:?}");
    managed.report.has_no_loss()
}

/// The manager closes when the command ends; the descendant writes to a pipe without a reader.
#[test]
#[ignore = "needs root"]
fn a_close_at_the_commands_end_makes_the_descendants_write_fail() -> Result<()> {
    let mut trace = late(Behaviour::CloseEarly, Stage::Closed, LATE_ECHO)?;
    trace.running.resume_command()?;
    let managed = trace.finish()?;
    managed.check()?;
    ensure!(managed.account.stdout.read == 7, "{:?}", managed.account);
    let finding = managed.headline("reader_gone")?;
    finding.expect("refusals", 1)?;
    closed_by_manager(finding, &managed)
}

/// A descendant writes nothing but keeps the pipe open, so the manager waits forever.
#[test]
#[ignore = "needs root"]
fn a_descendant_that_only_holds_the_pipe_open_is_named() -> Result<()> {
    let script = "echo direct; sleep 60 & exit 0";
    let managed = late(Behaviour::Faithful, Stage::Exited, script)?.interrupt()?;
    let sleeper = managed.report.processes.iter().find(|process| process.comm == "sleep");
    let sleeper = sleeper.context("the sleeper is not in the report")?.pid;
    let finding = managed.headline("late_writer")?.about(managed.account.pid)?;
    finding
        .expect("late_pid", sleeper)?
        .expect("late_comm", "sleep")?
        .expect("late_bytes", 0)?
        .expect("still_open", true)?;
    ensure!(managed.stdout()?.read == Some(7), "{:?}", managed.stdout());
    managed.report.has_no_loss()
}

/// Each of two readers of a pipe gets a part of the bytes.
#[test]
#[ignore = "needs root"]
fn bytes_that_another_process_read_are_reported_with_its_name() -> Result<()> {
    let managed = Goproc::new(Behaviour::OtherReader).bytes(1000).trace(&FIVE_THOUSAND)?;
    managed.check()?;
    let other_reader = managed.account.other_reader.context("no other reader")?;
    ensure!(
        (managed.account.stdout.read, other_reader.bytes) == (4000, 1000),
        "{:?}",
        managed.account
    );
    let finding = managed.headline("read_by_other")?.about(managed.account.pid)?;
    let others = serde_json::json!([{ "pid": other_reader.pid, "comm": "dd", "bytes": 1000 }]);
    finding.expect("others", others)?;
    Ok(())
}
