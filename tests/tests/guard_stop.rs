//! Nothing that a tracee, a file system or a reader does stops tracer: it answers signals, and it reports.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    deadline::{patient, wait_until},
    report::Report,
    still_fs::{Owner, StillFs},
    tracer::{RunningTracer, Tracer, check_status},
};

/// The time from a signal to the end of tracer: a report begins after two seconds at most.
const ANSWER: Duration = Duration::from_secs(4);

/// Interrupts tracer, which must then report in time.
fn report_in_time(tracer: RunningTracer) -> Result<Report> {
    tracer.interrupt()?;
    let began = Instant::now();
    let outcome = tracer.finish()?;
    check_status(outcome.status)?;
    ensure!(began.elapsed() < patient(ANSWER), "it ended after {:?}", began.elapsed());
    outcome.report()
}

/// Checks that the report tells this many looks of a kind that were not answered.
fn check_not_seen(report: &Report, kind: &str) -> Result<()> {
    let finding = report.finding("not_seen")?;
    ensure!(finding.fact(kind)?.as_u64() >= Some(1), "{finding:?}");
    ensure!(finding.message.starts_with("not seen: "), "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_process_that_holds_its_own_memory_is_traced_and_reported() -> Result<()> {
    let mut held = StillFs::prepare(Owner::User)?;
    let pid = held.start("locked")?;
    // Nothing answers for it, also before tracer looks.
    let tracer = Tracer::on_pid(pid).start()?;
    let report = report_in_time(tracer)?;
    check_not_seen(&report, "process")?;
    ensure!(report.processes.iter().any(|process| process.pid == pid), "{:?}", report.processes);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_process_that_locks_its_memory_while_it_is_traced_is_reported() -> Result<()> {
    let held = StillFs::prepare(Owner::User)?;
    // Its server must not hold tracer's streams.
    let shell = ["--", "sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"];
    let tracer = Tracer::default().args(shell).args(held.command("locked")).start()?;
    held.wait_ready()?;
    let report = report_in_time(tracer)?;
    ensure!(report.processes.iter().any(|process| process.comm == "stillfs"), "{report:?}");
    Ok(())
}

/// Output goes to a file on a file system that stands still when the trace ends.
fn output_stands_still(owner: Owner) -> Result<()> {
    let mut still = StillFs::prepare(owner)?;
    let pid = still.start("silent")?;
    let tracer = Tracer::on_pid(pid).start()?;
    std::thread::sleep(Duration::from_millis(300));
    still.stand_still()?;
    std::thread::sleep(Duration::from_millis(300));
    let tracer_pid = tracer.pid();
    let report = report_in_time(tracer)?;
    let written: u64 = report.objects.iter().filter_map(|object| object.written).sum();
    ensure!(written > 0, "{report:?}");
    // The kernel refuses to ask a file system of another user namespace, instead of waiting for it.
    if owner == Owner::Root {
        check_not_seen(&report, "file")?;
    }
    let is_gone = || Ok((!fs::exists(format!("/proc/{tracer_pid}"))?).then_some(()));
    wait_until("the end of tracer", is_gone).context("a thread of it is blocked")
}

#[test]
#[ignore = "needs root"]
fn output_on_a_file_system_of_root_that_stands_still_is_reported() -> Result<()> {
    output_stands_still(Owner::Root)
}

#[test]
#[ignore = "needs root"]
fn output_on_a_file_system_of_a_user_that_stands_still_is_reported() -> Result<()> {
    output_stands_still(Owner::User)
}
