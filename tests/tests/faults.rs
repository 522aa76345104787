//! Faults during a trace: tracer is stopped or killed, pids are reused, programs exec, the clock is set.
//! Counts stay exact, or the report has the exact number of losses. Traced programs are not affected.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::Signal,
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    deadline::{DEADLINE, OwnedChild, wait_until},
    expect,
    gate::Gate,
    gated::Gated,
    kernel_objects::KernelObjects,
    scenario::{Traced, trace},
    storm::{Storm, TracedStorm, losses_for, losses_make_findings_unsure},
    tracer::Tracer,
    workload::Workload,
};

/// Traces a storm that starts and ends while tracer is stopped.
fn while_stopped(name: &str, size: u64, tracer: Tracer) -> Result<TracedStorm> {
    let mut storm = Storm::start(name, size)?;
    let tracer = tracer.arg("--pid").arg(storm.pid().to_string()).start()?;
    tracer.signal(Signal::STOP)?;
    let stormed = storm.open_gate().and_then(|()| storm.wait());
    tracer.signal(Signal::CONT)?;
    let truth = stormed?;
    storm.end()?;
    TracedStorm::new(truth, tracer.finish_within(*DEADLINE * 2)?)
}

#[test]
#[ignore = "needs root"]
fn a_tracer_that_is_stopped_under_load_misses_nothing() -> Result<()> {
    while_stopped("brief", 2_000, Tracer::default())?.exact()
}

/// Number of life-cycle records in a recording: starts, first writes, ends and small facts of processes, and read ends
/// that they held at their end.
fn records(session: &Path) -> Result<u64> {
    let text = fs::read_to_string(session)?;
    let mut count = 0;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        let event = line.get("event").and_then(Value::as_str);
        let is_left = line.get("sighting").and_then(Value::as_str) == Some("left");
        let is_counted = matches!(event, Some("fork" | "first_io" | "exit" | "fact")) || is_left;
        count += u64::from(is_counted);
    }
    Ok(count)
}

/// Records that do not fit into the ring are counted. The byte counts are not in the ring.
#[test]
#[ignore = "needs root"]
fn records_that_a_stopped_tracer_loses_are_counted_exactly() -> Result<()> {
    const FEW: u64 = 100;
    const MANY: u64 = 12_000;
    let directory = tempfile::tempdir()?;
    let [few, many] = ["few", "many"].map(|name| directory.path().join(name));
    let recorded = |size, path: &Path| {
        while_stopped("brief", size, Tracer::default().arg("--record").arg(path))
    };
    let small = recorded(FEW, &few)?;
    small.exact()?;
    let large = recorded(MANY, &many)?;
    let ring_full = losses_for(&large.report, "ring_full");
    ensure!(ring_full > 0, "all records fitted into the ring");
    // Each process has three records; the rest of the storm is the same.
    let expected = records(&few)? + 3 * (MANY - FEW);
    let kept = records(&many)?;
    ensure!(kept + ring_full == expected, "{kept} kept, {ring_full} lost, {expected} expected");
    let mut objects = large.report.objects.iter();
    let whole =
        objects.any(|pipe| pipe.written == Some(large.truth.bytes) && pipe.read == pipe.written);
    ensure!(whole, "no pipe has {} bytes written and read", large.truth.bytes);
    losses_make_findings_unsure(&large.report, &["ring_full"])
}

/// Writes many lines and exits with 7; `$0` is the path of its gate.
const LONG: &str = "read go < \"$0\"; i=0; while [ $i -lt 6000 ]; do echo \"line $i\"; i=$((i+1)); done; \
    echo no such luck >&2; exit 7";

/// The observable result of a program.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// A running [`LONG`].
struct Long {
    child: OwnedChild,
    gate: Gate,
    directory: TempDir,
}

impl Long {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let gate = Gate::create()?;
        let mut command = Command::new("sh");
        command.args(["-c", LONG]).arg(gate.path()).stdin(Stdio::null());
        let [out, err] = ["out", "err"].map(|name| File::create(directory.path().join(name)));
        command.stdout(out?).stderr(err?);
        let child = OwnedChild::spawn(&mut command, "a long shell script")?;
        Ok(Self { child, gate, directory })
    }

    /// Opens the gate and returns while the script writes.
    fn begin(&mut self) -> Result<()> {
        self.gate.open()?;
        wait_for_bytes(&self.directory.path().join("out"))
    }

    fn finish(mut self) -> Result<Seen> {
        let status = self.child.wait()?;
        let [stdout, stderr] =
            ["out", "err"].map(|name| fs::read(self.directory.path().join(name)));
        Ok(Seen { status, stdout: stdout?, stderr: stderr? })
    }
}

fn wait_for_bytes(path: &Path) -> Result<()> {
    let has_written = || fs::metadata(path).is_ok_and(|file| file.len() > 1000);
    wait_until("the script to write", || Ok(has_written().then_some(())))
}

#[test]
#[ignore = "needs root"]
fn killing_tracer_leaves_nothing_attached_and_does_not_affect_the_target() -> Result<()> {
    let mut long = Long::start()?;
    long.begin()?;
    let untraced = long.finish()?;
    ensure!(untraced.status.code() == Some(7) && untraced.stdout.len() > 50_000);

    let mut long = Long::start()?;
    let tracer = Tracer::on_pid(long.child.pid()).start()?;
    let held = KernelObjects::of(tracer.pid())?;
    let kinds = ["prog_id:", "map_id:", "link_id:"];
    ensure!(kinds.iter().all(|kind| held.count(kind) >= 5), "tracer held {held:?}");
    long.begin()?;
    tracer.kill()?;
    let written = fs::metadata(long.directory.path().join("out"))?.len();
    ensure!(written < untraced.stdout.len() as u64, "tracer was killed too late");
    let traced = long.finish()?;
    ensure!(traced == untraced, "traced: {:?}, untraced: {:?}", traced.status, untraced.status);
    let is_free = || Ok(held.left()?.is_empty().then_some(()));
    wait_until("the kernel to free all BPF objects", is_free)
        .with_context(|| format!("left: {:?}", held.left()))
}

/// A command that tracer started continues after tracer is killed, with the same result.
#[test]
#[ignore = "needs root"]
fn a_command_outlives_the_tracer_that_started_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [out, code] = ["out", "code"].map(|name| directory.path().join(name));
    let script = format!(
        "(i=0; while [ $i -lt 6000 ]; do echo \"line $i\"; i=$((i+1)); done; exit 7) > {}; echo $? > {}.new; mv {}.new {}",
        out.display(),
        code.display(),
        code.display(),
        code.display()
    );
    let tracer = Tracer::default().args(["--", "sh", "-c"]).arg(&script).start()?;
    wait_for_bytes(&out)?;
    tracer.signal(Signal::KILL)?;
    let code = wait_until("the command to end", || Ok(fs::read_to_string(&code).ok()))?;
    ensure!(code.trim() == "7", "it ended with {code}");
    let expected: String = (0..6_000).map(|number| format!("line {number}\n")).collect();
    ensure!(fs::read_to_string(&out)? == expected, "its output is not complete");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_reused_pid_is_two_processes() -> Result<()> {
    let traced = trace(&Workload::new("reused-pid"))?;
    expect::exact(&traced)?;
    let processes = &traced.report.processes;
    let twice = processes.iter().find(|process| {
        process.pid != traced.workload.pid && traced.report.of_pid(process.pid).count() == 2
    });
    let pid = twice.context("no pid is listed twice")?.pid;
    let bytes: Vec<Vec<u64>> = traced
        .report
        .of_pid(pid)
        .map(|process| process.fds.iter().map(|row| row.bytes).filter(|bytes| *bytes > 0).collect())
        .collect();
    ensure!(bytes == [vec![1001], vec![22, 333]], "{bytes:?}");
    Ok(())
}

/// Each program writes before the next exec. They are one process with the last command line.
#[test]
#[ignore = "needs root"]
fn repeated_execs_are_one_process() -> Result<()> {
    let line = "echo one; exec sh -c 'echo two; exec sh -c \"echo three; exec seq 1 500\"'";
    let mut gated = Gated::piped(line)?;
    let pid = gated.pid();
    let outcome = gated.trace(Tracer::on_pid(pid))?;
    let report = outcome.report()?;
    expect::no_losses(&report)?;
    ensure!(report.of_pid(pid).count() == 1 && report.processes.len() == 1);
    ensure!(report.bytes_of(pid, 1) == 4 + 4 + 6 + 1892, "{}", report.bytes_of(pid, 1));
    let process = report.of_pid(pid).next().context("listed above")?;
    ensure!(process.argv == ["seq", "1", "500"], "{:?}", process.argv);
    report.has_no_finding("never_wrote")?;
    report.headline("delivered").map(drop)
}

/// A step of the wall clock, undone when dropped.
struct SteppedClock(i64);

impl SteppedClock {
    fn by(seconds: i64) -> Result<Self> {
        step(seconds)?;
        Ok(Self(seconds))
    }
}

impl Drop for SteppedClock {
    fn drop(&mut self) {
        // Succeeds as the first step did.
        let _ = step(-self.0);
    }
}

fn step(seconds: i64) -> Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec { tv_sec: now.tv_sec + seconds, tv_nsec: now.tv_nsec };
    clock_settime(ClockId::Realtime, then).context("cannot set the clock")
}

/// Durations come from a clock that cannot be set.
#[test]
#[ignore = "needs root"]
fn setting_the_clock_changes_no_duration_and_no_count() -> Result<()> {
    for seconds in [2, -2] {
        let start = Instant::now();
        let mut running = Workload::new("deep").gated().spawn()?;
        let tracer = Tracer::on_pid(running.pid()).start()?;
        let stepped = SteppedClock::by(seconds)?;
        running.open_gate()?;
        let workload = running.finish()?;
        let outcome = tracer.finish()?;
        drop(stepped);
        let longest = start.elapsed();
        let text: Value = serde_json::from_str(&outcome.stdout)?;
        expect::exact(&Traced::new("deep".to_owned(), workload, outcome)?)?;
        let window = text["window"]["seconds"].as_f64().context("no window")?;
        let window = Duration::from_secs_f64(window.max(0.0));
        ensure!(window > Duration::ZERO && window <= longest, "{window:?}, elapsed {longest:?}");
        for process in text["processes"].as_array().context("no processes")? {
            let [start, end] = ["start_ms", "end_ms"].map(|name| process[name].as_f64());
            ensure!(start <= end && end <= Some(longest.as_secs_f64() * 1e3), "{process:#}");
        }
    }
    Ok(())
}
