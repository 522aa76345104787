//! A trace without or with the view, and the processor time of its threads.

use std::{
    fs,
    ops::{AddAssign, Sub},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    cost::comparison::count::{Counted, TracerCounts},
    harness::{fixture::Fixture, report, terminal::Terminal, tool::Tool},
};

/// Frames before the list is complete: the empty screen, the first snapshot.
const FIRST_FRAMES: u64 = 2;

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Threads {
    /// The thread that reads the ring, and copies the session for the view.
    pub(crate) trace: u64,
    /// The thread that judges the copies.
    pub(crate) judge: u64,
    /// The thread that draws.
    pub(crate) draw: u64,
    /// The helper processes.
    pub(crate) helpers: u64,
}

impl AddAssign for Threads {
    fn add_assign(&mut self, other: Self) {
        self.trace += other.trace;
        self.judge += other.judge;
        self.draw += other.draw;
        self.helpers += other.helpers;
    }
}

impl Sub for Threads {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            trace: self.trace.saturating_sub(before.trace),
            judge: self.judge.saturating_sub(before.judge),
            draw: self.draw.saturating_sub(before.draw),
            helpers: self.helpers.saturating_sub(before.helpers),
        }
    }
}

impl Threads {
    /// The time that a tracer has used so far.
    fn of(pid: u32) -> Result<Self> {
        let mut times = Self::default();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("tracer has ended")?;
        for task in tasks.flatten().map(|task| task.path()) {
            let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
            let ns = on_cpu(&read("schedstat"));
            match read("comm").trim() {
                _ if task.ends_with(pid.to_string()) => times.trace += ns,
                "top-source" => times.judge += ns,
                "top-view" => times.draw += ns,
                _ => {}
            }
            for child in read("children").split_whitespace() {
                let stat = fs::read_to_string(format!("/proc/{child}/schedstat"));
                times.helpers += on_cpu(&stat.unwrap_or_default());
            }
        }
        Ok(times)
    }
}

/// The first number of a `schedstat`: nanoseconds on a processor.
fn on_cpu(schedstat: &str) -> u64 {
    schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// A running trace.
pub(super) struct Trace {
    tool: Tool,
    terminal: Option<Terminal>,
    files: TempDir,
}

/// A part of a trace.
pub(super) struct Window<'a> {
    trace: &'a Trace,
    began: Instant,
    frames: u64,
    threads: Threads,
}

impl Trace {
    /// Starts tracer and waits until it is attached, and until the view shows the tree.
    pub(super) fn start(fixture: &Fixture, targets: &[u32], is_open: bool) -> Result<Self> {
        let files = fixture.new_directory()?;
        let mut arguments: Vec<_> =
            targets.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]).collect();
        arguments.extend(["--format", "json", "-o"].map(str::to_owned));
        let report = files.path().join("report");
        if !is_open {
            let mut command = Command::new(&fixture.tracer);
            let mut tool = Tool::start("tracer", command.args(arguments).arg(report))?;
            tool.wait_for("tracer: attached")?;
            return Ok(Self { tool, terminal: None, files });
        }
        let terminal = Terminal::open()?;
        let (mut command, stdin) = terminal.command(&fixture.tracer)?;
        command.arg("top").args(arguments).arg(report);
        let mut tool = Tool::start_with(stdin, "tracer", &mut command)?;
        tool.wait_until("draw", |_| terminal.frames() >= FIRST_FRAMES)?;
        Ok(Self { tool, terminal: Some(terminal), files })
    }

    /// Begins a part of the trace.
    pub(super) fn window(&self) -> Result<Window<'_>> {
        let threads = Threads::of(self.tool.pid())?;
        Ok(Window { trace: self, began: Instant::now(), frames: self.frames(), threads })
    }

    fn frames(&self) -> u64 {
        self.terminal.as_ref().map_or(0, Terminal::frames)
    }

    /// Ends it and returns what it counted. `root` is the process whose children are counted.
    pub(super) fn finish(self, root: u32) -> Result<Counted> {
        self.tool.interrupt()?;
        let (status, output) = self.tool.finish()?;
        ensure!(matches!(status.code(), Some(0 | 1)), "tracer: {status}: {}", output.join(" / "));
        let report = report::read(&self.files.path().join("report"))?;
        Ok(Counted::Tracer(TracerCounts::of(&report, root)))
    }
}

impl Window<'_> {
    /// Seconds since its begin.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Frames and processor time since its begin.
    pub(super) fn end(self) -> Result<(u64, Threads)> {
        let threads = Threads::of(self.trace.tool.pid())? - self.threads;
        Ok((self.trace.frames() - self.frames, threads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_this_process_grows() {
        let before = Threads::of(std::process::id()).unwrap();
        let began = Instant::now();
        while began.elapsed().as_millis() < 30 {}
        // The test runs in a thread of its own, which has another name than the threads of a view.
        let used = Threads::of(std::process::id()).unwrap() - before;
        assert_eq!((used.judge, used.draw), (0, 0));
        assert_eq!(on_cpu("8532 18384464 2\n"), 8532);
        assert_eq!(on_cpu(""), 0);
    }
}
