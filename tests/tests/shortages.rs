//! A disk that is full, and memory that the kernel refuses: said in one sentence, or counted to the unit.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    expect,
    memory_limit::MemoryLimit,
    refusal,
    scenario::trace_with,
    small_disk::SmallDisk,
    storm::{Storm, Stormed, doubts, lost},
    tracer::{self, Tracer},
    workload::Workload,
};

#[test]
#[ignore = "needs root"]
fn a_report_that_finds_no_room_on_its_disk_is_an_error_that_names_it() -> Result<()> {
    let disk = SmallDisk::mount(64 << 10)?;
    disk.fill_up_to(0)?;
    let path = disk.join("report");
    let tracer = Tracer::default().arg("-o").arg(&path).args(["--", "seq", "1", "3"]).launch()?;
    let outcome = tracer.finish()?;
    ensure!(outcome.status.code() == Some(refusal::ENVIRONMENT), "{outcome:?}");
    let said = outcome.stderr.lines().last().unwrap_or_default();
    ensure!(said.contains(&path.display().to_string()), "{}", outcome.stderr);
    ensure!(said.contains("No space left on device"), "{}", outcome.stderr);
    Ok(())
}

/// The trace goes on; the recording says that it was cut.
#[test]
#[ignore = "needs root"]
fn a_recording_that_fills_its_disk_costs_the_report_nothing() -> Result<()> {
    let disk = SmallDisk::mount(128 << 10)?;
    disk.fill_up_to(16 << 10)?;
    let path = disk.join("session");
    let traced = trace_with(&Workload::new("wide"), |tracer| tracer.arg("--record").arg(&path))?;
    expect::exact(&traced)?;
    let said = &traced.tracer.stderr;
    ensure!(said.contains("the recording is cut here"), "{said}");
    let again = refusal::run(&["report", &path.display().to_string(), "--format", "json"])?;
    let report = tracer::parse(&String::from_utf8(again.stdout)?)?;
    report.headline("own_losses")?.fact("recording_cut").map(drop)
}

/// Maps are memory as well. One sentence, nothing attached, and no process killed for it.
#[test]
#[ignore = "needs root"]
fn maps_that_there_is_no_memory_for_are_refused_in_one_sentence() -> Result<()> {
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

/// Entries of a map that the kernel has no memory for are like those of a full map.
#[test]
#[ignore = "needs root"]
fn memory_that_a_map_is_refused_later_is_counted_to_the_unit() -> Result<()> {
    let limit = MemoryLimit::create("tracer-test-starved")?;
    let mut storm = Storm::start("crowd", 2_000)?;
    let tracer = Tracer::on_pid(storm.pid()).in_cgroup(limit.path()).start()?;
    // Stopped, it needs no memory itself, for want of which it would be killed.
    tracer.signal(Signal::STOP)?;
    limit.set(limit.usage()?)?;
    let raged = storm.open_gate().and_then(|()| storm.wait());
    limit.lift()?;
    tracer.signal(Signal::CONT)?;
    let truth = raged?;
    storm.end()?;
    let outcome = tracer.finish()?;
    let report = outcome.report()?;
    let stormed = Stormed { truth, tracer: outcome, report };
    let missing = stormed.truth.processes - stormed.processes();
    let [of_processes, of_rows] =
        ["processes_full", "ledger_full"].map(|reason| lost(&stormed.report, reason));
    ensure!(of_processes == missing, "{missing} are missing, processes_full says {of_processes}");
    let (writes, _) = stormed.written();
    ensure!(of_processes + of_rows > 0, "there was memory for everything");
    ensure!(
        writes + of_rows + missing == stormed.truth.writes,
        "{writes} writes, {of_rows} without a row, {missing} of the missing: {:?}",
        stormed.truth
    );
    doubts(&stormed.report, &["processes_full", "ledger_full"])
}
