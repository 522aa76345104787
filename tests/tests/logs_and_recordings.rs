//! Input from outside the kernel: managers' logs in the generic format, and recorded sessions.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tracer_tests::{
    gated::Gated,
    report::{Claim, Report},
    tracer::{self, Outcome, Tracer},
};

/// Writes [`BYTES`] bytes in the shell's process.
const LINE: &str = "exec seq 1 500";
const BYTES: u64 = 1892;

/// A line of a log in the generic format.
fn claim(pid: u32, bytes: impl Into<Value>) -> String {
    json!({ "pid": pid, "stream": "stdout", "bytes": bytes.into() }).to_string() + "\n"
}

/// Traces [`LINE`] with worker logs of these contents.
fn with_logs(texts: impl Fn(u32) -> Vec<String>) -> Result<(u32, Report)> {
    let mut gated = Gated::piped(LINE)?;
    let pid = gated.pid();
    let mut tracer = Tracer::on_pid(pid);
    for (number, text) in texts(pid).into_iter().enumerate() {
        let path = gated.directory().join(format!("worker{number}.log"));
        fs::write(&path, text)?;
        tracer = tracer.arg("--worker-log").arg(path);
    }
    let outcome = gated.trace(tracer)?;
    let report = outcome.report()?;
    report.check_exit_code(outcome.status.code())?;
    Ok((pid, report))
}

/// Checks the claims of all logs about the stdout of this process.
fn check_claims(report: &Report, pid: u32, bytes: u64) -> Result<()> {
    let is_stdout = |claim: &&Claim| claim.pid == pid && claim.stream == "stdout";
    let claims: Vec<&Claim> = report.claims.iter().filter(is_stdout).collect();
    let counted = |claim: &&Claim| (claim.written, claim.read) == (Some(BYTES), Some(BYTES));
    ensure!(claims.iter().all(counted), "{claims:?}");
    let sum: u64 = claims.iter().filter_map(|claim| claim.handed_out).sum();
    ensure!(sum == bytes, "{claims:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn generic_lines_with_fewer_bytes_than_were_read_are_a_loss() -> Result<()> {
    let (pid, report) = with_logs(|pid| vec![claim(pid, 1000) + &claim(pid, 92)])?;
    let finding = report.headline("read_then_lost")?.about(pid)?;
    finding.expect("read", BYTES)?.expect("handed_out", 1092)?.expect("lost", 800)?;
    check_claims(&report, pid, 1092)
}

#[test]
#[ignore = "needs root"]
fn several_logs_add_up() -> Result<()> {
    let (pid, report) = with_logs(|pid| vec![claim(pid, 1000), claim(pid, 892)])?;
    report.has_no_finding("read_then_lost")?;
    check_claims(&report, pid, BYTES)?;
    ensure!(report.worker_logs.len() == 2, "{:?}", report.worker_logs);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_log_is_read_from_standard_input() -> Result<()> {
    let mut gated = Gated::piped(LINE)?;
    let (pid, path) = (gated.pid(), gated.directory().join("worker.log"));
    fs::write(&path, claim(pid, BYTES))?;
    let tracer = Tracer::on_pid(pid).args(["--worker-log", "-"]).with_stdin(File::open(&path)?);
    let report = gated.trace(tracer)?.report()?;
    report.has_no_finding("read_then_lost")?;
    ensure!(report.worker_logs.iter().any(|log| log.path == "-"), "{:?}", report.worker_logs);
    check_claims(&report, pid, BYTES)
}

#[test]
#[ignore = "needs root"]
fn lines_that_cannot_be_parsed_are_reported_and_make_the_finding_unsure() -> Result<()> {
    let (pid, report) = with_logs(|pid| vec![claim(pid, -3) + "noise\n" + &claim(pid, 1000)])?;
    let log = report.worker_logs.first().context("no log is listed")?;
    ensure!((log.lines, log.bad) == (3, 1), "{log:?}");
    ensure!(log.first_bad.as_ref().is_some_and(|line| line.contains("-3")), "{log:?}");
    let finding = report.headline("read_then_lost")?.about(pid)?.expect("lost", 892)?;
    ensure!(finding.confidence == "unsure", "{finding:?}");
    ensure!(finding.message.contains("1 line of the log could not be read"), "{finding:?}");
    Ok(())
}

/// Traces a run and records the session to this file.
fn recorded(file: &Path) -> Result<Outcome> {
    let mut gated = Gated::piped("seq 1 500; sh -c 'echo no >&2; exit 3' | cat")?;
    gated.trace(Tracer::on_pid(gated.pid()).arg("--record").arg(file))
}

fn replayed(file: &Path) -> Result<Output> {
    let mut command = Command::new(tracer::binary()?);
    Ok(command.arg("report").arg(file).args(["--format", "json"]).output()?)
}

#[test]
#[ignore = "needs root"]
fn a_recorded_session_gives_the_report_of_the_live_run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("run.session");
    let (live, again) = (recorded(&file)?, replayed(&file)?);
    ensure!(live.status.code() == again.status.code(), "{live:?} {again:?}");
    let text = String::from_utf8(again.stdout)?;
    ensure!(live.stdout == text, "live: {}\nreplayed: {text}", live.stdout);
    live.report().map(drop)
}

/// Tracer surveys open files once at the start and once at the end, because for a large tree a survey
/// walks through all processes and records a line for each file.
#[test]
#[ignore = "needs root"]
fn open_files_are_surveyed_at_the_start_and_at_the_end_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("run.session");
    let idle = Gated::piped("exit 0")?;
    let tracer = Tracer::on_pid(idle.pid()).arg("--record").arg(&file).start()?;
    // Another survey would follow at once.
    thread::sleep(Duration::from_millis(500));
    tracer.interrupt()?;
    tracer.finish()?.report()?;
    let session = fs::read_to_string(&file)?;
    let surveys = session.lines().filter(|line| *line == r#"{"type":"survey"}"#).count();
    ensure!(surveys == 2, "{session}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_truncated_session_is_reported_as_far_as_it_goes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("run.session");
    recorded(&file)?;
    let whole = fs::read(&file)?;
    fs::write(&file, whole.get(..whole.len() / 2).unwrap_or_default())?;
    let again = replayed(&file)?;
    let report = tracer::parse(&String::from_utf8(again.stdout)?)?;
    report.headline("own_losses")?.fact("recording_cut")?;
    report.check_exit_code(again.status.code())?;
    let stderr = String::from_utf8_lossy(&again.stderr);
    ensure!(stderr.contains("stops before the end of the trace"), "{stderr}");
    Ok(())
}
