//! Captures with provoked gaps: each gap has the right length and position, the counts stay exact, and
//! the findings do not change. In runs with many megabytes a slow disk can cause additional gaps.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    capture::{Capture, Captured, capture_with},
    deadline::wait_until,
    expect,
    program::Program,
    report::Report,
    scenario::{Traced, trace, trace_with},
    small_disk::SmallDisk,
    tracer::Tracer,
    workload::{RunningWorkload, Workload},
};

const MIB: usize = 1 << 20;

fn flood(size: usize) -> Workload {
    Workload::new("flood").arg("1").arg(&size.to_string())
}

/// Captures a flood with these arguments of tracer. Checks that every byte is either kept at its
/// position or in a gap with one of these reasons, and that workload, reader and ledger agree.
fn flooded(size: usize, arguments: &[&str], reasons: &[&str]) -> Result<Captured> {
    let captured = capture_with(&flood(size), |tracer| tracer.args(arguments))?;
    let captured = captured.context("skipped")?;
    expect::exact(&captured.traced)?;
    let stream = captured.stream(1)?;
    stream.check_against(captured.received()?)?;
    stream.only_misses(reasons)?;
    ensure!(stream.total()?.written == size as u64, "{:?}", stream.total()?);
    Ok(captured)
}

#[test]
#[ignore = "needs root"]
fn a_small_ring_causes_gaps_of_the_right_length_and_position() -> Result<()> {
    let arguments = ["--capture-buffer", "64KiB"];
    let captured = flooded(64 * MIB, &arguments, &["ring_full", "slow_output"])?;
    let (total, gaps) = (captured.stream(1)?.total()?, captured.stream(1)?.gaps().count());
    ensure!(total.missing > 0 && total.kept > 0 && gaps > 1, "{gaps} gaps, {total:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn two_hundred_megabytes_per_second_cause_no_gap() -> Result<()> {
    const SIZE: usize = 200_000_000;
    let workload = Workload::new("paced").arg(&SIZE.to_string()).arg("200000000");
    let all = |tracer: Tracer| tracer.args(["--capture-limit", "1GiB"]);
    let captured = capture_with(&workload, all)?.context("skipped")?;
    captured.check()
}

/// A large write has several records; only some of them fit into the ring.
#[test]
#[ignore = "needs root"]
fn gaps_within_one_write_have_the_right_positions() -> Result<()> {
    let workload = Workload::new("one-write").arg(&(31 * MIB).to_string());
    for ring in ["256KiB", "2MiB"] {
        let small = |tracer: Tracer| tracer.args(["--capture-buffer", ring]);
        let captured = capture_with(&workload, small)?.context("skipped")?;
        let stream = captured.stream(1)?;
        stream.check_against(captured.received()?)?;
        stream.only_misses(&["ring_full", "slow_output"])?;
        ensure!(stream.total()?.missing > 0, "no gap with {ring}: {:?}", stream.total()?);
        expect::exact(&captured.traced)?;
    }
    Ok(())
}

/// Records of two threads can enter the ring in another order than their writes.
#[test]
#[ignore = "needs root"]
fn two_threads_with_gaps_have_exact_counts() -> Result<()> {
    let small = |tracer: Tracer| tracer.args(["--capture-buffer", "64KiB"]);
    let workload = Workload::new("two-threads").arg("40");
    let captured = capture_with(&workload, small)?.context("skipped")?;
    expect::exact(&captured.traced)?;
    let stream = captured.stream(1)?;
    stream.only_misses(&["ring_full", "slow_output"])?;
    ensure!(stream.missing_for("ring_full") > 0, "no gap: {:?}", stream.total()?);
    // Only whole lines are missing, and the kept lines of each thread are in order.
    for name in ["left", "right"] {
        let text = std::str::from_utf8(&stream.bytes)?;
        let own = text.lines().filter(|line| line.starts_with(name));
        let numbers: Option<Vec<u32>> =
            own.map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
        let numbers = numbers.context("a line without a number")?;
        ensure!(!numbers.is_empty() && numbers.is_sorted(), "{name}: {numbers:?}");
    }
    Ok(())
}

/// Two concurrent processes share the ring; each stream has its own gaps.
#[test]
#[ignore = "needs root"]
fn each_stream_has_its_own_gaps() -> Result<()> {
    let line = "head -c 20000000 /dev/zero & head -c 30000000 /dev/zero >&2; wait";
    let program = Program::new(&["sh", "-c", line]).tracer_args(["--capture-buffer", "64KiB"]);
    let captured = program.capture()?;
    let mut written = Vec::new();
    for stream in captured.capture.streams.values() {
        stream.only_misses(&["ring_full", "slow_output"])?;
        ensure!(stream.missing_for("ring_full") > 0, "no gap: {:?}", stream.total()?);
        written.push((stream.comm.as_str(), stream.total()?.written));
    }
    written.sort_unstable();
    ensure!(written == [("head", 20_000_000), ("head", 30_000_000)], "{written:?}");
    expect::no_losses(&captured.report)
}

/// Waits until a workload has published this many bytes.
fn wait_written(running: &RunningWorkload, bytes: usize) -> Result<()> {
    wait_until(&format!("{bytes} bytes to be written"), || {
        let truth = running.truth_so_far().ok();
        Ok(truth.is_some_and(|truth| truth.total() >= bytes as u64).then_some(()))
    })
}

#[test]
#[ignore = "needs root"]
fn a_stopped_tracer_has_a_gap_for_that_time() -> Result<()> {
    const ROUND: usize = 4 * MIB;
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let workload = Workload::new("flood").arg("3").arg(&ROUND.to_string()).gated();
    let mut running = workload.spawn()?;
    let tracer = Tracer::on_pid(running.pid())
        .args(["--capture-buffer", "1MiB"])
        .arg("--capture")
        .arg(&directory)
        .start()?;

    running.open_gate()?;
    wait_written(&running, ROUND)?;
    tracer.signal(Signal::STOP)?;
    running.open_gate()?;
    let stopped = wait_written(&running, 2 * ROUND);
    tracer.signal(Signal::CONT)?;
    stopped?;
    running.open_gate()?;
    let workload = running.finish()?;
    let report = tracer.finish()?.report()?;
    let capture = Capture::load(&directory)?;
    capture.check_report(&report)?;
    expect::rows_agree(&report, &workload.truth, expect::MatchBy::Fd)?;
    expect::no_losses(&report)?;
    let stream = capture.stream(workload.pid, 1)?;
    stream.check_against(workload.stdout()?)?;
    stream.only_misses(&["ring_full", "slow_output"])?;
    // The bytes of the second round, except those that fit into the ring.
    ensure!(stream.total()?.missing > (ROUND - MIB) as u64, "{:?}", stream.total()?);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_limit_keeps_exactly_the_first_bytes() -> Result<()> {
    for (limit, size) in [(10_000, 300_000), (1, 40_000), (65_536, 65_537), (50_000, 50_001)] {
        let captured = flooded(size, &["--capture-limit", &limit.to_string()], &["limit"])?;
        let stream = captured.stream(1)?;
        ensure!(stream.bytes == captured.received()?[..limit], "not the first {limit} bytes");
        let gaps: Vec<_> = stream.gaps().map(|gap| (gap.offset, gap.length)).collect();
        ensure!(gaps == [(limit as u64, (size - limit) as u64)], "{gaps:?}");
    }
    Ok(())
}

/// A stream of exactly the limit's size is complete, with and without `--capture-tail`.
#[test]
#[ignore = "needs root"]
fn a_limit_equal_to_the_size_cuts_nothing() -> Result<()> {
    for arguments in
        [&["--capture-limit", "50000"][..], &["--capture-limit", "50000", "--capture-tail"]]
    {
        flooded(50_000, arguments, &[])?.check()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_tail_keeps_exactly_the_last_bytes() -> Result<()> {
    for (limit, size) in [(10_000, 3_000_000), (1, 40_000), (65_536, 65_537), (300_000, 9_000_000)]
    {
        let limit_words = limit.to_string();
        let arguments = ["--capture-limit", &limit_words, "--capture-tail"];
        let captured = flooded(size, &arguments, &[])?;
        let stream = captured.stream(1)?;
        let received = captured.received()?;
        ensure!(stream.bytes == received[size - limit..], "not the last {limit} bytes");
        ensure!(stream.total()?.cut == (size - limit) as u64, "{:?}", stream.total()?);
    }
    Ok(())
}

/// The limit applies to each stream, not to their sum.
#[test]
#[ignore = "needs root"]
fn the_limit_applies_to_each_stream() -> Result<()> {
    let small = |tracer: Tracer| tracer.args(["--capture-limit", "1000"]);
    let captured = capture_with(&Workload::new("text"), small)?.context("skipped")?;
    for fd in [1, 2] {
        ensure!(captured.stream(fd)?.total()?.kept == 1000, "{:?}", captured.stream(fd)?.total());
    }
    expect::exact(&captured.traced)
}

/// The parts of the result that must not depend on the capture.
fn verdict(traced: &Traced) -> (Option<i32>, Vec<(&str, &str, &str)>) {
    let Report { findings, .. } = &traced.report;
    // `held_back` depends on timing, which a slow disk changes.
    let findings = findings.iter().filter(|finding| finding.rule != "held_back");
    let words = findings.map(|finding| {
        (finding.rule.as_str(), finding.severity.as_str(), finding.confidence.as_str())
    });
    (traced.tracer.status.code(), words.collect())
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_causes_gaps_and_changes_no_finding() -> Result<()> {
    const SIZE: usize = 32 * MIB;
    let disk = SmallDisk::mount(8 * MIB)?;
    let directory = disk.join("out");
    let traced = trace_with(&flood(SIZE), |tracer| {
        tracer.args(["--capture-reserve", "0", "--capture"]).arg(&directory)
    })?;
    expect::exact(&traced)?;
    let without = trace(&flood(SIZE))?;
    let (with, without) = (verdict(&traced), verdict(&without));
    ensure!(with == without, "with a full disk {with:?}, without a capture {without:?}");

    let capture = Capture::load(&directory)?;
    capture.check_report(&traced.report)?;
    let stream = capture.stream(traced.workload.pid, 1)?;
    stream.check_against(traced.workload.stdout()?)?;
    // A slow machine can have other gaps before the disk is full.
    stream.only_misses(&["disk_error", "slow_output", "ring_full"])?;
    ensure!(stream.missing_for("disk_error") > 0, "{:?}", stream.total()?);
    ensure!(stream.total()?.kept > 0, "{:?}", stream.total()?);
    Ok(())
}

/// The full disk can cut the recorded session, too; what is left is reported.
#[test]
#[ignore = "needs root"]
fn the_capture_on_a_full_disk_can_be_reported() -> Result<()> {
    let disk = SmallDisk::mount(4 * MIB)?;
    let directory = disk.join("out");
    trace_with(&flood(16 * MIB), |tracer| {
        tracer.args(["--capture-reserve", "0", "--capture"]).arg(&directory)
    })?;
    let path = directory.display().to_string();
    let again = tracer_tests::refusal::run(&["report", &path, "--format", "json"])?;
    let stderr = String::from_utf8_lossy(&again.stderr);
    ensure!(!stderr.contains("panicked"), "{stderr}");
    // Exit code 3 is possible if the session is cut early.
    ensure!(matches!(again.status.code(), Some(0 | 1 | 3)), "{:?}: {stderr}", again.status);
    Ok(())
}
