//! Random hostile programs of an unprivileged user: tracer ends in time, stays small, and what it says for certain is
//! true.
//!
//! Each run prints its seed if it fails. `TRACER_HOSTILE_SEED` repeats one seed; `TRACER_HOSTILE_SECONDS` sets how long
//! new seeds are tried.

use std::{
    env,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    deadline::patient, report::Report, tracer::binary, tracer::parse, workload::sibling_binary,
};

/// How long new seeds are tried.
const SECONDS: u64 = 15;
/// The program ends after 8 s; tracer has the rest for its start and its report.
const LIMIT: Duration = Duration::from_secs(40);
/// The most memory that tracer may take.
const MEMORY_KB: u64 = 200 * 1024;

fn from_env(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
#[ignore = "needs root"]
fn random_hostile_programs_are_reported_in_time_and_truly() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    fs::copy(sibling_binary("hostile")?, folder.path().join("hostile"))?;
    if let Some(seed) = from_env("TRACER_HOSTILE_SEED") {
        return run(seed, folder.path());
    }
    let limit = Duration::from_secs(from_env("TRACER_HOSTILE_SECONDS").unwrap_or(SECONDS));
    let (start, first) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed()?.as_secs());
    for seed in first.. {
        run(seed, folder.path()).with_context(|| format!("TRACER_HOSTILE_SEED={seed}"))?;
        if start.elapsed() > limit {
            return Ok(());
        }
    }
    Ok(())
}

fn run(seed: u64, folder: &Path) -> Result<()> {
    let (output, report) = (folder.join("output"), folder.join("report"));
    let mut tracer = Command::new(binary()?)
        .args(["-q", "--format", "json", "-o"])
        .arg(&report)
        .args(["--user", "nobody", "--"])
        .arg(folder.join("hostile"))
        .arg(seed.to_string())
        .stdin(Stdio::null())
        .stdout(File::options().append(true).create(true).truncate(false).open(&output)?)
        .stderr(Stdio::null())
        .spawn()?;
    let (start, mut memory) = (Instant::now(), 0);
    let ended = loop {
        if let Some(status) = tracer.try_wait()? {
            break status;
        }
        memory = memory.max(peak_kb(tracer.id()));
        if start.elapsed() > patient(LIMIT) {
            tracer.kill()?;
            anyhow::bail!("tracer had not ended after {:?}", start.elapsed());
        }
        sleep(Duration::from_millis(5));
    };
    ensure!(matches!(ended.code(), Some(0 | 1)), "tracer: {ended}");
    ensure!(memory < MEMORY_KB, "tracer took {memory} kB");
    let size = fs::metadata(&output)?.len();
    is_true(&parse(&fs::read_to_string(&report)?)?, &output, size)?;
    fs::remove_file(&output)?;
    Ok(())
}

/// The peak of a process's memory.
fn peak_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Compares what the report says for certain about the output with the size of the file.
fn is_true(report: &Report, output: &Path, size: u64) -> Result<()> {
    let name = output.display().to_string();
    let object = report.object(&name).with_context(|| format!("{name} is no object"))?;
    let of_trace: Vec<_> = report.losses().into_iter().filter(|loss| !is_of_object(loss)).collect();
    if of_trace.is_empty() && object.doubts.is_empty() {
        ensure!(object.written == Some(size), "the file has {size} B: {object:#?}");
    }
    Ok(())
}

/// Whether a loss concerns only the objects that have it in `doubts`.
fn is_of_object((reason, _): &(String, serde_json::Value)) -> bool {
    ["maybe_answered", "memory_changed", "fd_raced", "uncounted", "maybe_moved"]
        .contains(&reason.as_str())
}
