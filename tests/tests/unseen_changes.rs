//! Bytes that go or move by calls whose result does not tell it: the output is lost, perhaps lost, or in doubt, and never
//! certainly delivered.

use std::{
    fs::{self, File},
    io::Write as _,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    expect,
    report::{Finding, Report},
    scenario::{Traced, trace},
    stdio::Kind,
    tracer::{Tracer, binary, check_status, parse},
    truth::TRUTH_ENV,
    workload::{Workload, sibling_binary},
};

/// Checks that nothing says for certain that the output was delivered.
fn is_not_delivered(report: &Report) -> Result<()> {
    let is_certain = |finding: &&Finding| finding.confidence == "certain";
    let mut delivered = report.findings.iter().filter(|finding| finding.rule == "delivered");
    ensure!(!delivered.any(|finding| is_certain(&finding)), "{:#?}", report.findings);
    Ok(())
}

/// Traces a scenario as a command with a file as its stdout, which is read by no process.
fn in_file(scenario: &str) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let [output, report, truth] =
        ["output", "report", "truth"].map(|name| folder.path().join(name));
    let status = Command::new(binary()?)
        .args(["-q", "--format", "json", "-o"])
        .arg(&report)
        .args(["--", &sibling_binary("workload")?, scenario])
        .env(TRUTH_ENV, &truth)
        .stdin(Stdio::null())
        .stdout(File::create(output)?)
        .status()?;
    check_status(status)?;
    parse(&fs::read_to_string(report)?)
}

#[test]
#[ignore = "needs root"]
fn bytes_that_were_taken_out_of_a_file_may_be_gone() -> Result<()> {
    for scenario in ["punched", "zeroed"] {
        let report = in_file(scenario)?;
        let finding = report.finding("file_lost")?;
        finding.expect("lost", 0)?.expect("lost_at_most", 8_192)?;
        is_not_delivered(&report)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_file_that_has_got_room_is_certain() -> Result<()> {
    let report = in_file("preallocated")?;
    ensure!(report.headline("delivered")?.confidence == "certain", "{:#?}", report.findings);
    expect::no_losses(&report)
}

#[test]
#[ignore = "needs root"]
fn a_cut_after_many_other_facts_is_told() -> Result<()> {
    let report = in_file("cut-after-many-facts")?;
    report.finding("file_lost")?.expect("lost", 8_192)?;
    is_not_delivered(&report)
}

#[test]
#[ignore = "needs root"]
fn after_more_cuts_than_are_told_bytes_may_be_gone() -> Result<()> {
    let report = in_file("cut-often")?;
    report.finding("file_lost")?.expect("lost_at_most", 8_192)?;
    is_not_delivered(&report)
}

/// This test is neither a target nor a participant when it opens the file.
#[test]
#[ignore = "needs root"]
fn a_stranger_that_empties_the_file_by_opening_it_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let mut writer = Command::new("sh")
        .args(["-c", "read a; echo before; read b; echo after"])
        .stdin(Stdio::piped())
        .stdout(File::create(&path)?)
        .spawn()?;
    let tracer = Tracer::on_pid(writer.id()).start()?;
    let mut gate = writer.stdin.take().context("no stdin")?;
    gate.write_all(b"\n")?;
    let begun = Instant::now();
    while fs::metadata(&path)?.len() < 7 {
        ensure!(begun.elapsed() < Duration::from_secs(20), "nothing was written");
        sleep(Duration::from_millis(5));
    }
    drop(File::create(&path)?);
    gate.write_all(b"\n")?;
    writer.wait()?;
    let report = tracer.finish()?.report()?;
    let finding = report.finding("file_lost")?;
    let by = format!("(pid {}) cut the file", std::process::id());
    ensure!(finding.message.contains(&by) && !finding.message.contains(": (pid"), "{finding:#?}");
    is_not_delivered(&report)
}

/// Checks that the object of this kind is in doubt for this reason, and that no finding about the workload is certain.
fn is_in_doubt(traced: &Traced, reason: &str) -> Result<()> {
    let is_doubted = |doubts: &[String]| doubts.iter().any(|doubt| doubt == reason);
    ensure!(
        traced.report.objects.iter().any(|object| is_doubted(&object.doubts)),
        "{:#?}",
        traced.report
    );
    let own =
        traced.report.findings.iter().filter(|finding| finding.pid == Some(traced.workload.pid));
    let mut certain = own.filter(|finding| finding.confidence == "certain");
    let first = certain.next();
    ensure!(first.is_none(), "{first:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_copy_that_failed_after_it_moved_its_bytes_is_in_doubt() -> Result<()> {
    let traced = trace(&Workload::new("sent-and-failed").on(Kind::Pipe))?;
    ensure!(traced.report.finding("refused").is_err(), "{:#?}", traced.report.findings);
    is_in_doubt(&traced, "maybe_moved")
}

#[test]
#[ignore = "needs root"]
fn messages_that_were_sent_beyond_those_told_are_in_doubt() -> Result<()> {
    is_in_doubt(&trace(&Workload::new("sent-more-than-told").on(Kind::Socket))?, "maybe_moved")
}

#[test]
#[ignore = "needs root"]
fn an_fd_that_is_closed_during_a_write_puts_its_objects_in_doubt() -> Result<()> {
    is_in_doubt(&trace(&Workload::new("closed-beside-a-writer"))?, "fd_raced")
}

#[test]
#[ignore = "needs root"]
fn an_fd_that_another_process_replaces_puts_its_objects_in_doubt() -> Result<()> {
    is_in_doubt(&trace(&Workload::new("replaced-by-a-process"))?, "fd_raced")
}

#[test]
#[ignore = "needs root"]
fn the_state_of_a_message_queue_is_no_message() -> Result<()> {
    let traced = trace(&Workload::new("state-of-a-queue"))?;
    let queue = traced.report.objects.iter().find(|object| object.written == Some(100));
    let queue = queue.with_context(|| format!("{:#?}", traced.report.objects))?;
    ensure!(queue.read.unwrap_or(0) == 0, "{queue:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_close_that_never_ran_is_no_fact() -> Result<()> {
    let traced = trace(&Workload::new("close-answered"))?;
    let own = traced.report.processes.iter().find(|own| own.pid == traced.workload.pid);
    let own = own.context("the workload is not listed")?;
    ensure!(own.facts.iter().all(|fact| fact.kind != "fd_closed"), "{:#?}", own.facts);
    expect::exact(&traced)
}
