//! A trace of a cgroup that outlives the processes in it. Its tables show what ended processes left behind.

use std::{
    fmt::Write as _,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::{
    cgroup::ScratchCgroup,
    deadline::patient,
    expect::{self, MatchBy},
    report::Report,
    storm::Storm,
    tables::{Entries, Tables},
    tracer::{RunningTracer, Tracer},
    truth::Truth,
    workload::{Finished, RunningWorkload, Workload},
};

/// How long the tables may take to return to an earlier state: longer than [`SWEEP`].
const LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);
/// Without any target left, tables that do not change for this long are at rest.
const REST: Duration = Duration::from_secs(1);
/// Longer than the tracer's pause between two sweeps of all entries, which also find what no event tells.
const SWEEP: Duration = Duration::from_secs(11);

/// A tracer on a cgroup, and the tables as they were before the workloads of the test.
#[derive(Debug)]
pub struct CgroupTrace {
    cgroup: ScratchCgroup,
    tracer: RunningTracer,
    tables: Tables,
    before: Entries,
    truth: Truth,
}

/// A finished trace.
#[derive(Debug)]
pub struct Ended {
    /// The report.
    pub report: Report,
    /// What all workloads in the cgroup counted.
    pub truth: Truth,
}

impl CgroupTrace {
    /// Starts a tracer on a new cgroup.
    pub fn begin(name: &str) -> Result<Self> {
        Self::begin_with(name, &[])
    }

    /// The same with arguments for tracer.
    pub fn begin_with(name: &str, arguments: &[&str]) -> Result<Self> {
        let cgroup = ScratchCgroup::create(name)?;
        let tracer = Tracer::on_cgroup(cgroup.path()).args(arguments).start()?;
        let tables = Tables::of(tracer.pid())?;
        let (before, truth) = (Entries::new(), Truth::default());
        let mut this = Self { cgroup, tracer, tables, before, truth };
        // The test process reads the workloads' output, so the first workload makes it a relay until it ends.
        this.run(&Workload::new("write").arg("direct"))?;
        this.before = this.unchanged_for(REST)?;
        Ok(this)
    }

    /// Stops the tracer or lets it go on: while it stands still, nothing reads the ring.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.tracer.signal(signal)
    }

    /// Runs a storm in the cgroup, to its end.
    pub fn storm(&self, name: &str, size: u64) -> Result<()> {
        let mut storm = Storm::start(name, size)?;
        self.admit(storm.pid())?;
        storm.open_gate()?;
        storm.wait()?;
        storm.end()
    }

    /// Moves a process into the cgroup.
    pub fn admit(&self, pid: u32) -> Result<()> {
        self.cgroup.admit(pid)
    }

    /// Starts a workload in the cgroup. It waits at its gate.
    pub fn spawn(&self, workload: &Workload) -> Result<RunningWorkload> {
        let running = workload.clone().gated().spawn()?;
        self.admit(running.pid())?;
        Ok(running)
    }

    /// Waits for the end of a workload in the cgroup, and keeps its truth.
    pub fn finish(&mut self, running: RunningWorkload) -> Result<Finished> {
        let finished = running.finish()?;
        self.truth.processes.extend(finished.truth.processes.clone());
        Ok(finished)
    }

    /// Runs a workload in the cgroup.
    pub fn run(&mut self, workload: &Workload) -> Result<Finished> {
        let mut running = self.spawn(workload)?;
        running.open_gate()?;
        self.finish(running).with_context(|| format!("workload {}", workload.words()))
    }

    /// The tables while targets live, once a sweep of all entries finds nothing more.
    pub fn at_rest(&self) -> Result<Entries> {
        self.unchanged_for(patient(SWEEP))
    }

    fn unchanged_for(&self, rest: Duration) -> Result<Entries> {
        let mut known = self.entries()?;
        let mut since = Instant::now();
        while since.elapsed() < rest {
            sleep(PAUSE);
            let now = self.entries()?;
            if now != known {
                (known, since) = (now, Instant::now());
            }
        }
        Ok(known)
    }

    /// The tables as they can be compared: where a row lies depends on what lay there when it was opened.
    fn entries(&self) -> Result<Entries> {
        let mut entries = self.tables.entries()?;
        entries.remove("TAKEN_SLOTS");
        let rows = ["ROW_SLOTS", "FD_ROWS", "LEDGER"].map(|part| entries.remove(part).unwrap_or(0));
        entries.insert("rows", rows.iter().sum());
        Ok(entries)
    }

    /// Waits until the tables are as they were at some time; `what` names what has run since.
    pub fn returns_to(&self, state: &Entries, what: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let left = differences(state, &self.entries()?)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < patient(LIMIT), "{what} leaves{left}");
            sleep(PAUSE);
        }
    }

    /// Waits until the tables are as before the workloads.
    pub fn is_as_before(&self, what: &str) -> Result<()> {
        self.returns_to(&self.before, what)
    }

    /// Runs a workload and waits until the tables are as before.
    pub fn leaves_nothing(&mut self, workload: &Workload) -> Result<Finished> {
        let finished = self.run(workload)?;
        let what = format!("workload {} on {:?}", workload.words(), workload.kind());
        self.is_as_before(&what)?;
        Ok(finished)
    }

    /// Stops the tracer.
    pub fn end(self) -> Result<Ended> {
        self.tracer.interrupt()?;
        Ok(Ended { report: self.tracer.finish()?.report()?, truth: self.truth })
    }
}

impl Ended {
    /// Checks that the report has exactly what the workloads counted, and that nothing was lost.
    pub fn is_exact(&self) -> Result<()> {
        expect::rows_agree(&self.report, &self.truth, MatchBy::Fd)?;
        expect::pipes_balance(&self.report, &self.truth)?;
        expect::no_losses(&self.report)
    }
}

/// Each table that differs.
fn differences(before: &Entries, now: &Entries) -> Result<String> {
    let mut text = String::new();
    for (name, now) in now {
        let before = before[name];
        if *now != before {
            write!(text, " {name}: {now}, before {before};")?;
        }
    }
    Ok(text)
}
