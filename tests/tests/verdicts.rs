//! Findings about shell commands: commands that never start, sockets, log files opened for appending, and
//! tracer's own limits.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect,
    gated::Gated,
    scenario::trace,
    tracer::{Outcome, Tracer},
    workload::Workload,
};

fn traced(line: &str) -> Result<Outcome> {
    let mut gated = Gated::piped(line)?;
    let tracer = Tracer::on_pid(gated.pid());
    gated.trace(tracer)
}

/// Checks that the command at this path is reported as never started, with this error.
fn never_starts(path: &str, error: &str) -> Result<()> {
    let outcome = traced(&format!("{path}; exit 0"))?;
    let report = outcome.report()?;
    let finding = report.headline("exec_failed")?.expect("path", path)?.expect("error", error)?;
    ensure!(finding.message.contains("started by sh"), "{finding:?}");
    report.has_no_finding("never_wrote")?;
    report.check_exit_code(outcome.status.code())
}

#[test]
#[ignore = "needs root"]
fn a_command_that_does_not_exist_never_starts() -> Result<()> {
    never_starts("/nonexistent/job", "ENOENT")
}

#[test]
#[ignore = "needs root"]
fn a_command_that_is_not_executable_never_starts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("job");
    fs::write(&path, "#!/bin/sh\n")?;
    never_starts(path.to_str().context("a path of the test is not UTF-8")?, "EACCES")
}

#[test]
#[ignore = "needs root"]
fn a_script_without_its_interpreter_never_starts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("job");
    fs::write(&path, "#!/nonexistent/interpreter\n")?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, executable)?;
    never_starts(path.to_str().context("a path of the test is not UTF-8")?, "ENOENT")
}

/// Nine concurrent processes, but a table for four.
#[test]
#[ignore = "needs root"]
fn a_full_process_table_is_the_first_finding_and_makes_the_others_unsure() -> Result<()> {
    let mut gated = Gated::piped("for n in 1 2 3 4 5 6 7 8; do sleep 0.4 & done; seq 1 9; wait")?;
    let tracer = Tracer::on_pid(gated.pid()).args(["--max-processes", "4"]);
    let outcome = gated.trace(tracer)?;
    let report = outcome.report()?;
    let first = report.headline("own_losses")?;
    ensure!(first.confidence == "certain" && first.severity == "warning", "{first:?}");
    let losses = report.losses();
    ensure!(losses.iter().any(|(reason, _)| reason == "processes_full"), "{losses:?}");
    let mut others = report.findings.iter().skip(1);
    ensure!(others.all(|finding| finding.confidence == "unsure"), "{:#?}", report.findings);
    report.check_exit_code(outcome.status.code())
}

#[test]
#[ignore = "needs root"]
fn bytes_written_to_a_tcp_connection_are_out_of_sight() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut accepted, _) = listener.accept()?;
    let reader = thread::spawn(move || std::io::copy(&mut accepted, &mut std::io::sink()));
    let mut gated = Gated::onto("exec seq 1 9", stream.into())?;
    let outcome = gated.trace(Tracer::on_pid(gated.pid()))?;
    let report = outcome.report()?;
    let finding = report.headline("out_of_sight")?.about(gated.pid())?.expect("why", "socket")?;
    finding.expect("kind", "socket")?.expect("written", 18)?;
    ensure!(finding.message.contains("127.0.0.1:"), "{finding:?}");
    report.has_no_finding("delivered")?;
    report.check_exit_code(outcome.status.code())?;
    let arrived = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    ensure!(arrived == 18, "{arrived} bytes arrived");
    Ok(())
}

/// `cat` first tries `copy_file_range`, which fails for a file opened with `O_APPEND`.
#[test]
#[ignore = "needs root"]
fn a_failed_copy_is_no_refused_write() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("source");
    fs::write(&source, "x".repeat(5_000))?;
    for empty in [false, true] {
        let log =
            fs::File::options().append(true).create(true).open(directory.path().join("log"))?;
        let path = if empty { "/dev/null".into() } else { source.display().to_string() };
        let mut gated = Gated::onto(&format!("exec cat {path}"), log.into())?;
        let outcome = gated.trace(Tracer::on_pid(gated.pid()))?;
        let report = outcome.report()?;
        report.has_no_finding("refused")?;
        report.has_no_loss()?;
        report.check_exit_code(outcome.status.code())?;
        if !empty {
            report.headline("delivered")?.about(gated.pid())?.expect("stdout_bytes", 5_000)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_refused_write_that_succeeds_later_is_put_off() -> Result<()> {
    let traced = trace(&Workload::new("eagain-overcome").unread())?;
    expect::exact(&traced)?;
    let finding = traced.report.finding("put_off")?.about(traced.workload.pid)?;
    let refusals = finding.fact("refusals")?.as_u64();
    ensure!(refusals.is_some_and(|count| count > 0), "{finding:?}");
    // The workload made its output non-blocking itself, so it is prepared.
    ensure!((&*finding.severity, &*finding.confidence) == ("info", "unsure"), "{finding:?}");
    traced.report.has_no_loss()
}

#[test]
#[ignore = "needs root"]
fn output_to_dev_null_is_discarded() -> Result<()> {
    let null = fs::File::options().write(true).open("/dev/null")?;
    let mut gated = Gated::onto("exec seq 1 9", null.into())?;
    let report = gated.trace(Tracer::on_pid(gated.pid()))?.report()?;
    report.headline("discarded")?.about(gated.pid())?.expect("stdout_bytes", 18)?;
    report.has_no_loss()
}

/// A write of 0 bytes is an attempt to write, and no other rule applies.
#[test]
#[ignore = "needs root"]
fn a_write_of_no_bytes_is_accounted_for() -> Result<()> {
    let report = traced(r#"exec perl -e 'syswrite STDOUT, ""'"#)?.report()?;
    report.headline("accounted")?.expect("stdout_bytes", 0)?;
    report.has_no_finding("never_wrote")
}

/// A ledger of sixteen rows and forty concurrent writers: bytes without a row make a pipe unbalanced.
#[test]
#[ignore = "needs root"]
fn bytes_without_a_row_make_a_pipe_unbalanced() -> Result<()> {
    let numbers: Vec<String> = (11..51).map(|number| number.to_string()).collect();
    // The reader gets its row before the other processes use the rest.
    let storm = format!("for n in {}; do (echo $n; sleep 0.4) & done", numbers.join(" "));
    let line = format!("echo 10; sleep 0.5; {storm}; wait");
    let mut gated = Gated::piped(&line)?;
    let tracer = Tracer::on_pid(gated.pid()).args(["--max-objects", "4"]);
    let outcome = gated.trace(tracer)?;
    let report = outcome.report()?;
    report.headline("own_losses")?;
    let finding = report.finding("unbalanced")?;
    let number = |name| anyhow::Ok(finding.fact(name)?.as_u64().unwrap_or(0));
    let (written, read) = (number("written")?, number("read")?);
    ensure!(read == 123 && written < read, "{finding:?}");
    ensure!(finding.message.contains("ledger_full"), "{finding:?}");
    report.check_exit_code(outcome.status.code())
}
