//! A full disk and a lack of kernel memory: reported in one sentence, or counted exactly.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    expect,
    memory_limit::MemoryLimit,
    refusal,
    scenario::trace_with,
    small_disk::SmallDisk,
    storm::{Storm, TracedStorm, losses_for, losses_make_findings_unsure},
    tracer::{self, Tracer},
    workload::Workload,
};

#[test]
#[ignore = "needs root"]
fn a_report_on_a_full_disk_is_an_error_that_names_its_path() -> Result<()> {
    let disk = SmallDisk::mount(64 << 10)?;
    disk.fill_except(0)?;
    let path = disk.join("report");
    let tracer = Tracer::default().arg("-o").arg(&path).args(["--", "seq", "1", "3"]).launch()?;
    let outcome = tracer.finish()?;
    ensure!(outcome.status.code() == Some(refusal::ENVIRONMENT), "{outcome:?}");
    let error = outcome.stderr.lines().last().unwrap_or_default();
    ensure!(error.contains(&path.display().to_string()), "{}", outcome.stderr);
    ensure!(error.contains("No space left on device"), "{}", outcome.stderr);
    Ok(())
}

/// The trace continues; the recording is marked as cut.
#[test]
#[ignore = "needs root"]
fn a_recording_that_fills_its_disk_does_not_affect_the_report() -> Result<()> {
    let disk = SmallDisk::mount(128 << 10)?;
    disk.fill_except(16 << 10)?;
    let path = disk.join("session");
    let traced = trace_with(&Workload::new("wide"), |tracer| tracer.arg("--record").arg(&path))?;
    expect::exact(&traced)?;
    let stderr = &traced.tracer.stderr;
    ensure!(stderr.contains("the recording is cut here"), "{stderr}");
    let again = refusal::run(&["report", &path.display().to_string(), "--format", "json"])?;
    let report = tracer::parse(&String::from_utf8(again.stdout)?)?;
    report.headline("own_losses")?.fact("recording_cut").map(drop)
}

/// BPF maps need memory. Tracer prints one line and attaches nothing, and no process is killed.
#[test]
#[ignore = "needs root"]
fn a_lack_of_memory_for_maps_is_reported_in_one_sentence() -> Result<()> {
    let limit = MemoryLimit::create("tracer-test-refused")?;
    limit.set(200 << 20)?;
    let directory = tempfile::tempdir()?;
    let tracer = Tracer::default()
        .in_cgroup(limit.path())
        .arg("--capture")
        .arg(directory.path().join("out"))
        .args(["--capture-buffer", "1GiB", "--", "touch"])
        .arg(directory.path().join("touched"));
    let outcome = tracer.launch()?.finish()?;
    ensure!(outcome.status.code() == Some(refusal::ENVIRONMENT), "{outcome:?}");
    for word in ["Cannot allocate memory", "16 MB", "--capture-buffer"] {
        ensure!(outcome.stderr.contains(word), "{word} is not in: {}", outcome.stderr);
    }
    ensure!(outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
    ensure!(!directory.path().join("touched").exists(), "the command ran untraced");
    Ok(())
}

/// A map entry for which the kernel has no memory is counted like an entry in a full map.
#[test]
#[ignore = "needs root"]
fn map_entries_without_memory_are_counted_exactly() -> Result<()> {
    let limit = MemoryLimit::create("tracer-test-starved")?;
    let mut storm = Storm::start("crowd", 2_000)?;
    let tracer = Tracer::on_pid(storm.pid()).in_cgroup(limit.path()).start()?;
    // Stopped, because tracer itself would be killed if it needed memory.
    tracer.signal(Signal::STOP)?;
    limit.set(limit.usage()?)?;
    let stormed_truth = storm.open_gate().and_then(|()| storm.wait());
    limit.lift()?;
    tracer.signal(Signal::CONT)?;
    let truth = stormed_truth?;
    storm.end()?;
    let stormed = TracedStorm::new(truth, tracer.finish()?)?;
    let missing = stormed.truth.processes - stormed.processes();
    let [lost_processes, lost_rows] =
        ["processes_full", "ledger_full"].map(|reason| losses_for(&stormed.report, reason));
    ensure!(lost_processes == missing, "{missing} are missing, processes_full is {lost_processes}");
    let (writes, _) = stormed.written();
    ensure!(lost_processes + lost_rows > 0, "there was enough memory");
    ensure!(
        writes + lost_rows + missing == stormed.truth.writes,
        "{writes} writes, {lost_rows} without a row, {missing} missing processes: {:?}",
        stormed.truth
    );
    losses_make_findings_unsure(&stormed.report, &["processes_full", "ledger_full"])
}
