//! The live view when nobody takes it: neither the program nor the counting waits, and the report comes.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{ChildStderr, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    capture::Capture,
    deadline::OwnedChild,
    expect,
    reader::{Pace, Reader},
    report::Report,
    tracer::{ATTACHED, binary, parse},
    workload::{Finished, Workload},
};

const MIB: usize = 1 << 20;

/// A flood that was shown to nobody, and has ended.
struct Viewed {
    workload: Finished,
    tracer: OwnedChild,
    /// The report, one day.
    stdout: Reader,
    /// The view, unread since the tracer attached.
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
        let ends = (tracer.inner().stdout.take(), tracer.inner().stderr.take());
        let (stdout, stderr) = (ends.0.context("piped")?, ends.1.context("piped")?);
        let stdout = Reader::spawn(stdout.into(), Pace::Free);
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        while !line.starts_with(ATTACHED) {
            line.clear();
            ensure!(stderr.read_line(&mut line)? > 0, "the tracer ended before it was attached");
        }
        running.open_gate()?;
        Ok(Self { workload: running.finish()?, tracer, stdout, stderr: Some(stderr) })
    }

    /// Waits for the end, and compares the counts.
    fn report(mut self) -> Result<(Finished, Report)> {
        self.tracer.wait()?;
        let report = parse(&String::from_utf8(self.stdout.finish()?.bytes)?)?;
        expect::rows_agree(&report, &self.workload.truth, expect::MatchBy::Fd)?;
        expect::no_losses(&report)?;
        Ok((self.workload, report))
    }
}

/// What the queue cannot hold becomes a gap.
#[test]
#[ignore = "needs root"]
fn a_view_that_nobody_reads_makes_gaps() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let mut viewed = Viewed::flood(100 * MIB, Some(&directory))?;
    // Now the view has nobody to write to, and goes on without.
    viewed.stderr = None;
    let (workload, report) = viewed.report()?;
    let capture = Capture::load(&directory)?;
    capture.check_report(&report)?;
    let stream = capture.stream(workload.pid, 1)?;
    stream.check_against(&workload.received[0].as_ref().context("a pipe was read")?.bytes)?;
    stream.only_misses(&["slow_output", "ring_full"])?;
    ensure!(stream.missing_for("slow_output") > 0, "{:?}", stream.total()?);
    Ok(())
}

/// The second Ctrl-C gives up the rest of the view, and nothing else.
#[test]
#[ignore = "needs root"]
fn a_second_interrupt_ends_a_view_that_stands_still() -> Result<()> {
    let mut viewed = Viewed::flood(8 * MIB, None)?;
    // Nobody reads the view, so the tracer cannot end by itself.
    let waited = viewed.tracer.wait_for(Duration::from_secs(4));
    ensure!(waited.is_err(), "it ended: {waited:?}");
    viewed.tracer.signal(Signal::INT)?;
    viewed.report().map(|_| ())
}
