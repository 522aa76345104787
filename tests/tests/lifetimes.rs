//! What tracer puts into the kernel's tables has an end: when the processes of a trace have ended, the tables are as
//! empty as before them.

use std::{fmt::Write as _, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::patient,
    paths::{self, Identity, WritePath},
    scenario::identities_of,
    stdio::Kind,
    storm::Storm,
    tables::{Entries, Tables},
    tracer::{RunningTracer, Tracer},
    workload::Workload,
};

/// How long the tables may take to empty.
const LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);

/// A tracer on a cgroup that outlives the processes in it.
struct Bench {
    cgroup: ScratchCgroup,
    tracer: RunningTracer,
    tables: Tables,
    before: Entries,
}

impl Bench {
    fn begin(name: &str) -> Result<Self> {
        let cgroup = ScratchCgroup::create(name)?;
        let tracer = Tracer::on_cgroup(cgroup.path()).start()?;
        let tables = Tables::of(tracer.pid())?;
        let mut this = Self { cgroup, tracer, tables, before: Entries::new() };
        // This test reads what the workloads write, so it is followed itself from the first of them on.
        this.run(&Workload::new("write").arg("direct"))?;
        this.before = this.at_rest()?;
        Ok(this)
    }

    fn run(&self, workload: &Workload) -> Result<()> {
        let words = workload.words();
        let mut running = workload.clone().gated().spawn()?;
        self.cgroup.admit(running.pid())?;
        running.open_gate()?;
        running.finish().with_context(|| format!("workload {words}"))?;
        Ok(())
    }

    /// The tables when nothing has changed in them for a while.
    fn at_rest(&self) -> Result<Entries> {
        let mut known = self.tables.entries()?;
        loop {
            sleep(Duration::from_secs(1));
            let now = self.tables.entries()?;
            if now == known {
                return Ok(now);
            }
            known = now;
        }
    }

    /// Runs a workload and waits until the tables are as before.
    fn leaves_nothing(&self, workload: &Workload) -> Result<()> {
        self.run(workload)?;
        self.are_as_before().with_context(|| format!("after workload {}", workload.words()))
    }

    fn are_as_before(&self) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let left = self.left()?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(waited < patient(LIMIT), "entries are left:{left}");
            sleep(PAUSE);
            waited += PAUSE;
        }
    }

    /// Each table that is not as before.
    fn left(&self) -> Result<String> {
        let mut left = String::new();
        for (name, now) in self.tables.entries()? {
            let before = self.before[name];
            if now != before {
                write!(left, " {name}: {now}, before {before};")?;
            }
        }
        Ok(left)
    }

    fn end(self) -> Result<()> {
        self.tracer.interrupt()?;
        self.tracer.finish()?.report().map(drop)
    }
}

fn each_leaves_nothing(name: &str, workloads: impl IntoIterator<Item = Workload>) -> Result<()> {
    let bench = Bench::begin(name)?;
    workloads.into_iter().try_for_each(|workload| bench.leaves_nothing(&workload))?;
    bench.end()
}

fn with_every_identity(paths: &[WritePath]) -> Result<Vec<Workload>> {
    let workloads: Result<Vec<_>> = paths.iter().map(|path| identities_of(path.name)).collect();
    Ok(workloads?.into_iter().flatten().collect())
}

#[test]
#[ignore = "needs root"]
fn ways_of_writing_leave_nothing_in_the_tables() -> Result<()> {
    each_leaves_nothing("tracer-test-ways", with_every_identity(&paths::NATIVE)?)
}

#[test]
#[ignore = "needs root"]
fn io_uring_leaves_nothing_in_the_tables() -> Result<()> {
    each_leaves_nothing("tracer-test-uring", with_every_identity(&paths::URING)?)
}

#[test]
#[ignore = "needs root"]
fn stories_leave_nothing_in_the_tables() -> Result<()> {
    let piped = [
        "ebadf",
        "restarted",
        "sigkill",
        "sigpipe",
        "wide",
        "crowd",
        "deep",
        "daemon",
        "threads",
        "thread-ends",
        "exec-thread",
        "vfork-exec",
        "reused-pid",
        "side-file",
        "reused-inode",
        "spliced-away",
        "held-back",
        "silent",
    ];
    let unread =
        ["eagain", "eagain-overcome", "eintr-pipe"].map(|name| Workload::new(name).unread());
    let on = |kind, name| Workload::new(name).on(kind);
    let others = [
        on(Kind::ReaderlessPipe, "epipe"),
        on(Kind::Full, "enospc"),
        on(Kind::HungUpPty, "eio"),
        on(Kind::Socket, "eintr-socket").unread(),
    ];
    let stories = piped.map(Workload::new).into_iter().chain(unread).chain(others);
    each_leaves_nothing("tracer-test-stories", stories)
}

/// Many entries at a time, and in `churn` one after the other.
#[test]
#[ignore = "needs root"]
fn storms_leave_nothing_in_the_tables() -> Result<()> {
    let bench = Bench::begin("tracer-test-storms")?;
    let storms = [("brief", 500), ("pipes", 500), ("threads", 200), ("bomb", 6), ("churn", 2_000)];
    for (name, size) in storms {
        let mut storm = Storm::start(name, size)?;
        bench.cgroup.admit(storm.pid())?;
        storm.open_gate()?;
        storm.wait()?;
        storm.end()?;
        bench.are_as_before().with_context(|| format!("after storm {name}"))?;
    }
    bench.end()
}

/// A pty's two halves, a file and a socket.
#[test]
#[ignore = "needs root"]
fn every_kind_of_output_leaves_nothing_in_the_tables() -> Result<()> {
    let write = |kind| Workload::new("write").arg(Identity::Direct.word()).on(kind);
    let kinds = [Kind::Fifo, Kind::Socket, Kind::File, Kind::Pty, Kind::Null];
    each_leaves_nothing("tracer-test-kinds", kinds.map(write))
}
