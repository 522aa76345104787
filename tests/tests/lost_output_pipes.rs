//! Output that is lost, late or stuck at the pipe itself: who closed, who sleeps, who else reads.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::{
    deadline::wait_until,
    goproc::{Behaviour, Stage},
    managed::{Goproc, Managed, UnderTrace},
    procfs::is_blocked_in_write,
    report::Finding,
    workload::sibling_binary,
};

/// How long a writer sleeps, or a pipe is held after its leader's end, before a test looks: some
/// time must pass for these cases to be cases at all.
const A_WHILE: Duration = Duration::from_secs(1);
const PIPE: u64 = 65_536;
const FIVE_THOUSAND: [&str; 4] = ["head", "-c", "5000", "/dev/zero"];

fn workload() -> Result<String> {
    let path = sibling_binary("workload")?.into_os_string().into_string();
    path.ok().context("a path of this build is not UTF-8")
}

/// The finding names the manager as the one who closed, and says when.
fn closed_by_manager(finding: &Finding, managed: &Managed) -> Result<()> {
    finding.expect("closer_pid", managed.account.manager)?.expect("closer_comm", "goproc")?;
    ensure!(finding.fact("closed_ms")?.is_number(), "closed_ms: {finding:?}");
    Ok(())
}

/// So many bytes are in the pipe at its last close, and the manager did that.
fn unread(managed: &Managed, bytes: u64) -> Result<()> {
    managed.check()?;
    ensure!(managed.account.stdout.left_inside == Some(bytes), "{:?}", managed.account);
    let finding = managed.headline("unread")?.about(managed.account.pid)?;
    finding.expect("unread", bytes)?.expect("reader_alive", false)?;
    closed_by_manager(finding, managed)?;
    let stdout = managed.stdout()?;
    let closer = stdout.closes.last().context("no close is listed")?;
    ensure!(
        (closer.pid, closer.comm.as_str()) == (managed.account.manager, "goproc"),
        "{closer:?}"
    );
    // What is gone with its pipe is inside of nothing any more.
    ensure!(stdout.inside.is_none_or(|inside| inside == bytes), "{stdout:?}");
    ensure!(stdout.capacity == Some(PIPE), "{stdout:?}");
    Ok(())
}

/// C6: the manager waits for the command's end before it reads, and closes then.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_without_reading_leaves_everything_unread() -> Result<()> {
    unread(&Goproc::new(Behaviour::NoRead).trace(&FIVE_THOUSAND)?, 5000)
}

/// C2: it has read a part, and closes when the command ends.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_at_exit_loses_what_it_had_not_read() -> Result<()> {
    unread(&Goproc::new(Behaviour::NoRead).bytes(100).trace(&FIVE_THOUSAND)?, 4900)
}

/// C24: it kills the command, and closes without a last look.
#[test]
#[ignore = "needs root"]
fn a_manager_that_kills_and_closes_loses_what_waited() -> Result<()> {
    let waiting = ["sh", "-c", "head -c 5000 /dev/zero; exec sleep 60"];
    let managed = Goproc::new(Behaviour::KillClose).bytes(5000).trace(&waiting)?;
    ensure!(managed.account.signal == Some(libc::SIGKILL), "{:?}", managed.account);
    unread(&managed, 5000)
}

/// C16: everything was read; the next write finds nobody, and SIGPIPE ends the writer.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_early_is_named_at_the_next_write() -> Result<()> {
    let script = r#"head -c 100 /dev/zero; head -c 1 "$GOPROC_LATER" >/dev/null; echo more"#;
    let mut trace = Goproc::new(Behaviour::CloseEarly).bytes(100).begin(&["sh", "-c", script])?;
    trace.running.account_at(Stage::Closed)?;
    trace.running.let_go()?;
    let managed = trace.finish()?;
    managed.check()?;
    ensure!(managed.account.signal == Some(libc::SIGPIPE), "{:?}", managed.account);
    let finding = managed.headline("reader_gone")?.about(managed.account.pid)?;
    finding.expect("refusals", 1)?;
    closed_by_manager(finding, &managed)
}

/// C16 with an endless writer: some of its bytes are in the pipe that the manager closes.
#[test]
#[ignore = "needs root"]
fn a_manager_that_closes_early_ends_an_endless_writer() -> Result<()> {
    let managed = Goproc::new(Behaviour::CloseEarly).bytes(100).trace(&["yes"])?;
    ensure!(managed.account.signal == Some(libc::SIGPIPE), "{:?}", managed.account);
    let finding = managed.report.finding("reader_gone")?.about(managed.account.pid)?;
    closed_by_manager(finding, &managed)?;
    managed.report.check_exit_code(managed.tracer.status.code())?;
    // A write between the manager's last look and its close is in the kernel's books alone.
    let stdout = managed.stdout()?;
    ensure!(stdout.read == Some(100) && stdout.balanced != Some(false), "{stdout:?}");
    tracer_tests::expect::no_losses(&managed.report)
}

/// G10: the manager is killed; whoever writes after that has no reader any more.
#[test]
#[ignore = "needs root"]
fn a_killed_manager_takes_its_read_ends_with_it() -> Result<()> {
    let script = r#"head -c 1 "$GOPROC_LATER" >/dev/null; echo late"#;
    let mut trace = Goproc::new(Behaviour::Faithful).begin(&["sh", "-c", script])?;
    let account = trace.running.account_at(Stage::Started)?;
    trace.running.kill()?;
    trace.running.let_go()?;
    let managed = trace.after_kill()?;
    let finding = managed.headline("reader_gone")?.about(account.pid)?;
    closed_by_manager(finding, &managed)?;
    tracer_tests::expect::no_losses(&managed.report)
}

/// C10: 64,000 of 400,000 bytes fit; the manager had made the pipe non-blocking.
#[test]
#[ignore = "needs root"]
fn refused_bytes_are_told_with_who_made_the_pipe_non_blocking() -> Result<()> {
    let managed = Goproc::new(Behaviour::Nonblock).trace(&[&workload()?, "heedless"])?;
    managed.check()?;
    ensure!(managed.account.stdout.read == 64_000, "{:?}", managed.account);
    let finding = managed.headline("refused")?.about(managed.account.pid)?;
    finding
        .expect("error", "EAGAIN")?
        .expect("refusals", 3360)?
        .expect("nonblock_pid", managed.account.manager)?
        .expect("nonblock_comm", "goproc")?;
    // Whether a refused byte came again, only its program knows: the row has the sum of them.
    let mut rows = managed.report.rows();
    let row = rows.find(|(pid, row)| *pid == managed.account.pid && row.fd == Some(1));
    let refused = row.and_then(|(_, row)| row.refused_bytes);
    ensure!(refused == Some(336_000), "{refused:?} bytes refused");
    Ok(())
}

/// C9: the program itself made it non-blocking, wrote what fitted and ended with success.
#[test]
#[ignore = "needs root"]
fn a_program_that_gives_up_at_a_full_pipe_is_named_itself() -> Result<()> {
    // The manager reads nothing before the end, so that exactly one pipe of bytes fits.
    let managed = Goproc::new(Behaviour::NoRead).trace(&[&workload()?, "short"])?;
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

/// Traces until the command has slept in a write to `fd` for a while.
fn asleep(goproc: &Goproc, scenario: &str, fd: i32) -> Result<Managed> {
    let trace = goproc.begin(&[&workload()?, scenario])?;
    let account = trace.running.account_at(Stage::Started)?;
    wait_until("the command to sleep in write", || {
        Ok(is_blocked_in_write(account.pid, fd).then_some(()))
    })?;
    thread::sleep(A_WHILE);
    trace.interrupt()
}

fn stuck(managed: &Managed, inside: u64) -> Result<&Finding> {
    tracer_tests::expect::no_losses(&managed.report)?;
    let finding = managed.headline("stuck")?.about(managed.account.pid)?;
    finding
        .expect("inside", inside)?
        .expect("capacity", PIPE)?
        .expect("asleep_in", "write")?
        .expect("reader_pid", managed.account.manager)?
        .expect("reader_comm", "goproc")
}

/// C17: the reader keeps its end open and never reads.
#[test]
#[ignore = "needs root"]
fn a_writer_asleep_at_a_full_pipe_is_stuck_with_its_idle_reader() -> Result<()> {
    let managed = asleep(&Goproc::new(Behaviour::Stall), "fills-stdout", 1)?;
    let finding = stuck(&managed, PIPE)?;
    finding.expect("reader_last_read_ms", Value::Null)?.expect("reader_waits_on", Value::Null)?;
    let stdout = managed.stdout()?;
    ensure!(stdout.inside == Some(PIPE) && stdout.balanced != Some(false), "{stdout:?}");
    Ok(())
}

/// A pipe is full when its pages are: there may be fewer bytes inside than it could hold.
#[test]
#[ignore = "needs root"]
fn a_reader_that_stopped_in_the_middle_is_told_with_its_last_read() -> Result<()> {
    let managed = asleep(&Goproc::new(Behaviour::NoRead).bytes(100), "fills-stdout", 1)?;
    let finding = stuck(&managed, PIPE - 100)?;
    ensure!(finding.fact("reader_last_read_ms")?.is_number(), "{finding:?}");
    ensure!(managed.stdout()?.read == Some(100), "{:?}", managed.stdout());
    Ok(())
}

/// C25: the command fills stderr while the manager waits for the end of stdout.
#[test]
#[ignore = "needs root"]
fn a_deadlock_of_two_streams_names_the_stream_the_reader_waits_on() -> Result<()> {
    let managed = asleep(&Goproc::new(Behaviour::StdoutOnly), "fills-stderr", 2)?;
    let finding = stuck(&managed, PIPE)?;
    finding.expect("reader_waits_on", managed.account.stdout.object.as_str())?;
    Ok(())
}

/// Lets a descendant go on a while after the first process has ended.
fn late(behaviour: Behaviour, stage: Stage, script: &str) -> Result<UnderTrace> {
    let trace = Goproc::new(behaviour).begin(&["sh", "-c", script])?;
    trace.running.account_at(stage)?;
    thread::sleep(A_WHILE);
    Ok(trace)
}

const LATE_ECHO: &str =
    r#"echo direct; (head -c 1 "$GOPROC_LATER" >/dev/null; echo late) & exit 0"#;

/// C7: a descendant writes when the command is long done; everything arrives.
#[test]
#[ignore = "needs root"]
fn a_descendant_that_writes_later_is_named() -> Result<()> {
    let mut trace = late(Behaviour::Faithful, Stage::Exited, LATE_ECHO)?;
    trace.running.let_go()?;
    let managed = trace.finish()?;
    managed.check()?;
    let leader = managed.account.pid;
    let late = managed.stdout()?.writers.iter().find(|writer| writer.pid != leader);
    let late = late.context("nobody but the leader wrote")?;
    ensure!(managed.account.stdout.read == 12 && late.bytes == 5, "{:?}", managed.account);
    let finding = managed.headline("late_writer")?.about(leader)?;
    finding
        .expect("late_pid", late.pid)?
        .expect("late_comm", "sh")?
        .expect("late_bytes", 5)?
        .expect("still_open", false)?;
    ensure!(finding.fact("leader_end_ms")?.is_number(), "{finding:?}");
    managed.report.accuses_nobody()
}

/// C8: the manager closes when the command ends; the descendant meets a pipe without a reader.
#[test]
#[ignore = "needs root"]
fn a_forced_close_cuts_off_the_descendant() -> Result<()> {
    let mut trace = late(Behaviour::CloseEarly, Stage::Closed, LATE_ECHO)?;
    trace.running.let_go()?;
    let managed = trace.finish()?;
    managed.check()?;
    ensure!(managed.account.stdout.read == 7, "{:?}", managed.account);
    let finding = managed.headline("reader_gone")?;
    finding.expect("refusals", 1)?;
    closed_by_manager(finding, &managed)
}

/// G9: nothing more is written, but the pipe stays open and the manager waits for ever.
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
    managed.report.accuses_nobody()
}

/// Two readers of one pipe: each gets what the other does not.
#[test]
#[ignore = "needs root"]
fn bytes_that_another_process_took_are_told_with_its_name() -> Result<()> {
    let managed = Goproc::new(Behaviour::Thief).bytes(1000).trace(&FIVE_THOUSAND)?;
    managed.check()?;
    let thief = managed.account.thief.context("no thief")?;
    ensure!((managed.account.stdout.read, thief.bytes) == (4000, 1000), "{:?}", managed.account);
    let finding = managed.headline("read_by_other")?.about(managed.account.pid)?;
    let others = serde_json::json!([{ "pid": thief.pid, "comm": "dd", "bytes": 1000 }]);
    finding.expect("others", others)?;
    Ok(())
}
