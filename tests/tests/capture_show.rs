//! The live view when its output is not read: the program and the counting continue, and tracer reports.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{ChildStderr, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    capture::Capture,
    deadline::OwnedChild,
    expect,
    reader::Reader,
    report::Report,
    tracer::{ATTACHED, binary, parse},
    workload::{Finished, Workload},
};

const MIB: usize = 1 << 20;

/// A finished flood under `--show`, whose view is not read.
struct Viewed {
    workload: Finished,
    tracer: OwnedChild,
    /// Reads the report.
    stdout: Reader,
    /// The live view, not read since tracer attached.
    stderr: Option<BufReader<ChildStderr>>,
}

impl Viewed {
    fn flood(size: usize, capture: Option<&Path>) -> Result<Self> {
        let mut running = Workload::new("flood").arg("1").arg(&size.to_string()).gated().spawn()?;
        let mut command = Command::new(binary()?);
        command.args(["--format", "json", "--show", "--pid"]).arg(running.pid().to_string());
        if let Some(directory) = capture {
            command.args(["--capture-limit", "1GiB", "--capture"]).arg(directory);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tracer = OwnedChild::spawn(&mut command, "tracer --show")?;
        let stdout = Reader::of_stdout(&mut tracer)?;
        let mut stderr = BufReader::new(tracer.take_stderr()?);
        let mut line = String::new();
        while !line.starts_with(ATTACHED) {
            line.clear();
            ensure!(stderr.read_line(&mut line)? > 0, "tracer ended before it was attached");
        }
        running.open_gate()?;
        Ok(Self { workload: running.finish()?, tracer, stdout, stderr: Some(stderr) })
    }

    /// Waits until tracer ends, and checks the counts.
    fn report(mut self) -> Result<(Finished, Report)> {
        self.tracer.wait()?;
        let report = parse(&String::from_utf8(self.stdout.finish()?.bytes)?)?;
        expect::rows_agree(&report, &self.workload.truth, expect::MatchBy::Fd)?;
        expect::no_losses(&report)?;
        Ok((self.workload, report))
    }
}

/// The folder has what the view cannot take. Only the ring may have had no room, on a busy machine.
#[test]
#[ignore = "needs root"]
fn a_view_that_is_not_read_costs_the_folder_nothing() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let mut viewed = Viewed::flood(100 * MIB, Some(&directory))?;
    // Without a reader the view's next write fails, and tracer stops writing it.
    viewed.stderr = None;
    let (workload, report) = viewed.report()?;
    let capture = Capture::load(&directory)?;
    capture.check_report(&report)?;
    let stream = capture.stream(workload.pid, 1)?;
    stream.check_against(workload.stdout()?)?;
    stream.only_misses(&["ring_full"])
}

/// The second Ctrl-C discards the rest of the view, but not the report.
#[test]
#[ignore = "needs root"]
fn a_second_interrupt_ends_a_blocked_view() -> Result<()> {
    let mut viewed = Viewed::flood(8 * MIB, None)?;
    // The view is not read, so tracer blocks.
    let waited = viewed.tracer.wait_for(Duration::from_secs(4));
    ensure!(waited.is_err(), "it ended: {waited:?}");
    viewed.tracer.signal(Signal::INT)?;
    viewed.report().map(|_| ())
}
