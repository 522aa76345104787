//! The always-on recorder and files: what becomes of a job's output in a file is often done by another job, before or after
//! the job is judged.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::wait_until,
    recorder::{Recorder, entries, entry, start_in},
};

/// A service that writes 10 bytes into a log, waits for the file `stop`, and fails.
const SERVICE: &str = "echo 123456789; until [ -e \"$0/stop\" ]; do sleep .05; done; exit 3";

/// Starts the service, has `act` done to its log while it runs, and returns its entry.
fn service(name: &str, act: impl Fn(&ScratchCgroup, &Path, &Path) -> Result<()>) -> Result<Value> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create(name)?);
    let scratch = TempDir::new()?;
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let at = scratch.path().to_str().context("no text")?;
    let line = "exec \"$1\" -c \"$2\" \"$0\" >>\"$0/app.log\"";
    let mut service = start_in(&cgroup, &["sh", "-c", line, at, "dash", SERVICE])?;
    let log = scratch.path().join("app.log");
    wait_until("the log", || Ok(fs::metadata(&log).is_ok_and(|it| it.len() == 10).then_some(())))?;
    act(&cgroup, &log, folder.path())?;
    // A job that is judged after that, so that what is not needed any more is forgotten.
    run(&cgroup, &["true"])?;
    entry(folder.path(), "true")?;
    File::create(scratch.path().join("stop"))?;
    ensure!(!service.wait()?.success());
    let found = entry(folder.path(), "dash")?;
    recorder.stop()?;
    Ok(found)
}

fn run(cgroup: &ScratchCgroup, argv: &[&str]) -> Result<()> {
    let mut child = start_in(cgroup, argv)?;
    let status = child.wait()?;
    ensure!(status.success(), "{argv:?}: {status}");
    Ok(())
}

fn says(found: &Value, rule: &str, parts: &[&str]) -> Result<()> {
    let sentence = found["sentence"].as_str().context("no sentence")?;
    ensure!(found["rule"] == rule && found["has_loss"] == true, "{found:#}");
    parts.iter().try_for_each(|part| {
        ensure!(sentence.contains(part), "no {part:?} in {sentence}");
        Ok(())
    })
}

/// The job that removed the log has been judged and forgotten when the service ends.
#[test]
#[ignore = "needs root"]
fn the_job_that_removed_a_log_is_named_long_after_its_end() -> Result<()> {
    let removed = service("tracer-rm", |cgroup, log, folder| {
        run(cgroup, &["rm", "-f", log.to_str().context("no text")?])?;
        entry(folder, "rm").map(drop)
    })?;
    says(&removed, "file_lost", &["which was removed, probably by rm -f", "10 B are gone"])?;
    // Its directory is named, as clean-up steps do.
    let directory = service("tracer-rmdir", |cgroup, log, folder| {
        let line = "cd \"$0/..\" && rm -rf \"$1\"/*.log; exec sleep 0";
        let above = log.parent().context("no parent")?.to_str().context("no text")?;
        run(cgroup, &["sh", "-c", line, above, above])?;
        entry(folder, "sleep").map(drop)
    })?;
    says(&directory, "file_lost", &["which was removed, probably by rm -rf", "10 B are gone"])
}

/// This test is no target of the recorder.
#[test]
#[ignore = "needs root"]
fn the_stranger_that_cut_a_log_is_named() -> Result<()> {
    let cut = service("tracer-cut", |_, log, _| {
        let status = std::process::Command::new("truncate").args(["-s", "0"]).arg(log).status()?;
        ensure!(status.success());
        Ok(())
    })?;
    says(&cut, "file_lost", &["10 B of what was written there are gone: truncate (pid "])
}

/// The size of a log is older than what others write to it while a job is judged.
#[test]
#[ignore = "needs root"]
fn jobs_that_append_to_one_log_lose_nothing() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-append")?);
    let scratch = TempDir::new()?;
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let at = scratch.path().to_str().context("no text")?;
    let line = "for i in $(seq 100); do seq 9 >>\"$0/log\"; sleep .03; done";
    run(&cgroup, &["sh", "-c", line, at])?;
    let of_jobs = wait_until("the entries", || {
        let found = entries(folder.path(), &["--name", "^seq$"])?;
        // The list of numbers is one more.
        Ok((found.len() == 101).then_some(found))
    })?;
    recorder.stop()?;
    ensure!(fs::metadata(scratch.path().join("log"))?.len() == 1_800);
    let odd: Vec<&Value> = of_jobs.iter().filter(|entry| entry["rule"] != "delivered").collect();
    ensure!(odd.is_empty(), "{} of 100, as {:#}", odd.len(), odd[0]);
    Ok(())
}
