//! Start and end of a trace: running targets, several targets, signals, a duration.

use std::{
    fs,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{OwnedChild, wait_until},
    expect::{self, MatchBy},
    gate::Gate,
    procfs::{is_blocked_in_write, object_of, target_of},
    reader::{Pace, Reader},
    scenario::{Traced, trace, trace_with},
    tracer::{RunningTracer, Tracer, check_status, parse},
    truth::{TRUTH_ENV, Truth},
    workload::{RunningWorkload, Workload, sibling_binary},
};

/// Many generations of processes start and end while tracer searches for the tree.
#[test]
#[ignore = "needs root"]
fn a_fork_storm_during_attach_hides_no_process() -> Result<()> {
    let traced = trace(&Workload::new("storm"))?;
    expect::exact(&traced)
}

#[test]
#[ignore = "needs root"]
fn a_write_that_is_blocked_at_attach_is_counted_in_full() -> Result<()> {
    let workload = Workload::new("blocked").unread().gated();
    let mut running = workload.spawn()?;
    let pid = running.pid();
    wait_until("the workload to block in write", || Ok(is_blocked_in_write(pid, 1).then_some(())))?;
    let tracer = Tracer::on_pid(pid).start()?;
    running.release_readers();
    running.open_gate()?;
    let finished = running.finish()?;
    expect::exact(&Traced::new(workload.words(), finished, tracer.finish()?)?)
}

/// A shell redirects its own stdout while it runs a builtin, and restores it afterwards. Its stdout in the
/// report is the one it was started with, even if two redirections are nested.
#[test]
#[ignore = "needs root"]
fn a_shell_adopted_during_a_redirection_has_the_stdout_that_it_restores() -> Result<()> {
    let mut gate = Gate::create()?;
    let line = r#"{ read go <"$0" >/dev/null; echo aside; } >"$0.log"; echo hello again"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(gate.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut shell = OwnedChild::spawn(&mut shell, line)?;
    let (pid, stdout) = (shell.pid(), shell.take_stdout()?);
    let pipe = object_of(stdout.as_raw_fd()).context("the pipe is not in /proc")?;
    let reader = Reader::spawn(stdout.into(), Pace::Free);
    // Some shells close fd 1 for a moment before they redirect it.
    let is_null = || target_of(pid, 1).is_ok_and(|target| target == "/dev/null");
    let redirected = || Ok(is_null().then_some(()));
    wait_until("the shell to redirect itself", redirected)?;
    let tracer = Tracer::on_pid(pid).start()?;
    gate.open()?;
    shell.wait()?;
    let received = reader.finish()?;
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    ensure!(received.len() == 12, "{} bytes arrived", received.len());
    report.headline("delivered")?.about(pid)?.expect("stdout_bytes", 12)?;
    let chain = report.chain(pid, 1)?.writers();
    ensure!(
        chain.first().is_some_and(|step| step.bytes == 12 && step.object == pipe),
        "{chain:#?}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn bytes_written_before_the_attach_are_not_counted() -> Result<()> {
    let workload = Workload::new("before-and-after").gated();
    let mut running = workload.spawn()?;
    // It publishes an empty ledger between the two parts.
    wait_until("the workload's first part", || Ok(running.truth_so_far().ok()))?;
    let tracer = Tracer::on_pid(running.pid()).start()?;
    running.open_gate()?;
    let finished = running.finish()?;
    let report = tracer.finish()?.report()?;
    expect::rows_agree(&report, &finished.truth, MatchBy::Fd)
}

/// Starts a workload that stays alive after its writes, and a tracer that has counted them.
fn lingering(adjust: impl FnOnce(Tracer) -> Tracer) -> Result<Lingering> {
    let mut running = Workload::new("linger").gated().spawn()?;
    let tracer = adjust(Tracer::on_pid(running.pid())).start()?;
    running.open_gate()?;
    let truth = wait_until("the workload's truth", || Ok(running.truth_so_far().ok()))?;
    Ok(Lingering { running, tracer, truth })
}

struct Lingering {
    running: RunningWorkload,
    tracer: RunningTracer,
    truth: Truth,
}

#[test]
#[ignore = "needs root"]
fn an_interrupt_ends_the_trace_with_a_report() -> Result<()> {
    let Lingering { running, tracer, truth } = lingering(|tracer| tracer)?;
    tracer.interrupt()?;
    let outcome = tracer.finish()?;
    let report = outcome.report()?;
    expect::rows_agree(&report, &truth, MatchBy::Fd)?;
    expect::no_losses(&report)?;
    ensure!(
        report.of_pid(running.pid()).all(|process| process.exit.is_none()),
        "a running process is reported as ended"
    );
    check_status(outcome.status)
}

#[test]
#[ignore = "needs root"]
fn a_duration_ends_the_trace_while_the_target_runs() -> Result<()> {
    let Lingering { tracer, truth, running } =
        lingering(|tracer| tracer.arg("--duration").arg("2s"))?;
    let outcome = tracer.finish()?;
    expect::rows_agree(&outcome.report()?, &truth, MatchBy::Fd)?;
    drop(running);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_command_is_traced_from_its_first_byte() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [truth, report] = ["truth.jsonl", "report.json"].map(|name| directory.path().join(name));
    let tracer = Tracer::default()
        .env(TRUTH_ENV, &truth)
        .arg("-o")
        .arg(&report)
        .arg("--")
        .arg(sibling_binary("workload")?)
        .arg("write")
        .arg("exec")
        .launch()?;
    let outcome = tracer.finish()?;
    let text = fs::read_to_string(&report).with_context(|| outcome.stderr.clone())?;
    let report = parse(&text)?;
    let truth = Truth::load(&truth)?;
    expect::rows_agree(&report, &truth, MatchBy::Fd)?;
    expect::no_losses(&report)
}

#[test]
#[ignore = "needs root"]
fn two_pids_are_traced_at_once() -> Result<()> {
    let mut first = Workload::new("deep").gated().spawn()?;
    let mut second = Workload::new("write").arg("fork").gated().spawn()?;
    let tracer = Tracer::on_pid(first.pid()).arg("--pid").arg(second.pid().to_string()).start()?;
    first.open_gate()?;
    second.open_gate()?;
    let mut truth = first.finish()?.truth;
    truth.processes.extend(second.finish()?.truth.processes);
    let report = tracer.finish()?.report()?;
    expect::rows_agree(&report, &truth, MatchBy::Fd)?;
    expect::no_losses(&report)
}

#[test]
#[ignore = "needs root"]
fn a_cgroup_target_counts_its_members_only() -> Result<()> {
    let cgroup = ScratchCgroup::create("tracer-test")?;
    let mut member = Workload::new("deep").gated().spawn()?;
    let mut stranger = Workload::new("write").gated().spawn()?;
    cgroup.admit(member.pid())?;
    let tracer = Tracer::on_cgroup(cgroup.path()).start()?;
    member.open_gate()?;
    stranger.open_gate()?;
    let truth = member.finish()?.truth;
    stranger.finish()?;
    // Without members tracer may have ended already, which the test does not require.
    let _ = tracer.interrupt();
    let report = tracer.finish()?.report()?;
    expect::rows_agree(&report, &truth, MatchBy::Fd)?;
    expect::no_losses(&report)
}

#[test]
#[ignore = "needs root"]
fn a_process_that_joins_the_cgroup_during_the_trace_is_counted() -> Result<()> {
    let cgroup = ScratchCgroup::create("tracer-test-late")?;
    let mut first = Workload::new("write").gated().spawn()?;
    let mut late = Workload::new("write").arg("fork").gated().spawn()?;
    cgroup.admit(first.pid())?;
    let tracer = Tracer::on_cgroup(cgroup.path()).start()?;
    cgroup.admit(late.pid())?;
    late.open_gate()?;
    let mut truth = late.finish()?.truth;
    first.open_gate()?;
    truth.processes.extend(first.finish()?.truth.processes);
    let _ = tracer.interrupt();
    let report = tracer.finish()?.report()?;
    expect::rows_agree(&report, &truth, MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn other_fds_are_not_counted_by_default() -> Result<()> {
    let mut traced = trace(&Workload::new("side-file"))?;
    for process in traced.workload.truth.processes.values_mut() {
        process.fds.retain(|row| row.fd != 9);
    }
    expect::exact(&traced)
}

#[test]
#[ignore = "needs root"]
fn a_file_with_the_inode_number_of_a_removed_stdout_is_not_mistaken_for_it() -> Result<()> {
    expect::exact(&trace(&Workload::new("reused-inode"))?)
}

#[test]
#[ignore = "needs root"]
fn a_running_process_is_reported_with_its_command_line() -> Result<()> {
    let traced = trace(&Workload::new("silent"))?;
    let mut processes = traced.report.of_pid(traced.workload.pid);
    let argv = processes.next().map(|process| process.argv.clone()).unwrap_or_default();
    ensure!(argv.last().is_some_and(|word| word == "silent"), "reported as {argv:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn all_fds_counts_a_log_file_too() -> Result<()> {
    let traced = trace_with(&Workload::new("side-file"), |tracer| tracer.arg("--all-fds"))?;
    let pid = traced.workload.pid;
    let counted = [1, 2, 9].map(|fd| traced.report.bytes_of(pid, fd));
    ensure!(counted == [81, 83, 8200], "fds 1, 2 and 9: {counted:?}");
    expect::no_losses(&traced.report)
}
