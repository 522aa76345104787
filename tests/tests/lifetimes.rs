//! What tracer puts into the kernel's tables has an end: when the processes of a trace have ended, the tables are as
//! empty as before them.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tracer_tests::{
    cgroup_trace::CgroupTrace,
    deadline::wait_until,
    paths::{self, Identity, WritePath},
    scenario::identities_of,
    stdio::Kind,
    storm::losses_for,
    workload::Workload,
};

fn each_leaves_nothing(name: &str, workloads: impl IntoIterator<Item = Workload>) -> Result<()> {
    each_leaves_nothing_with(name, &[], workloads)
}

/// The same with arguments for tracer.
fn each_leaves_nothing_with(
    name: &str,
    arguments: &[&str],
    workloads: impl IntoIterator<Item = Workload>,
) -> Result<()> {
    let mut trace = CgroupTrace::begin_with(name, arguments)?;
    for workload in workloads {
        trace.leaves_nothing(&workload)?;
    }
    trace.end().map(drop)
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
        "zero",
        "stopped",
        "failures",
        "pidns",
        "uring-silent",
        "uring-registered-file",
        "replaced-beside-a-writer",
        "wide-registers",
        "partly-read-connection",
    ];
    let unread = ["short", "eagain", "eagain-overcome", "eintr-pipe"]
        .map(|name| Workload::new(name).unread());
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

/// Read ends that were closed during a read, by exec or in a range; requests that share a group; reads of all kinds.
#[test]
#[ignore = "needs root"]
fn reads_leave_nothing_in_the_tables() -> Result<()> {
    let names = [
        "closed-in-a-read",
        "closed-in-a-receive",
        "closed-by-exec",
        "closed-in-a-range",
        "stdio-in-a-range",
        "multishot-read",
        "multishot-receive",
        "same-data",
        "own-data",
        "bundle",
        "overflow",
        "splices",
        "tees",
        "looks",
        "cut-messages",
        "no-error-queue",
        "message-queue",
    ];
    each_leaves_nothing("tracer-test-reads", names.map(Workload::new))
}

/// Threads whose calls something else answers have an entry from call to call.
#[test]
#[ignore = "needs root"]
fn answered_calls_leave_nothing_in_the_tables() -> Result<()> {
    let names = [
        "trapped",
        "killed-by-seccomp",
        "supervised",
        "supervised-child",
        "supervised-elsewhere",
        "stepped",
    ];
    let others = [("supervised-socket", Kind::Socket), ("emulated", Kind::File)];
    let others = others.map(|(name, kind)| Workload::new(name).on(kind));
    each_leaves_nothing("tracer-test-answers", names.map(Workload::new).into_iter().chain(others))
}

/// With a capture, each request to write has an entry that says where its bytes are.
#[test]
#[ignore = "needs root"]
fn captured_requests_leave_nothing_in_the_tables() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let folder = directory.path().join("out").to_string_lossy().into_owned();
    let workloads = with_every_identity(&paths::URING)?;
    each_leaves_nothing_with("tracer-test-captured", &["--capture", &folder], workloads)
}

/// Many entries at a time, and in `churn` one after the other.
#[test]
#[ignore = "needs root"]
fn storms_leave_nothing_in_the_tables() -> Result<()> {
    let trace = CgroupTrace::begin("tracer-test-storms")?;
    let storms = [
        ("brief", 500),
        ("pipes", 500),
        ("threads", 200),
        ("bomb", 6),
        ("churn", 2_000),
        ("crowd", 200),
        ("unread", 200),
    ];
    for (name, size) in storms {
        trace.storm(name, size)?;
        trace.is_as_before(&format!("storm {name}"))?;
    }
    trace.end().map(drop)
}

/// Entries that find no room are taken back in part: a filter counts before its entry is refused.
#[test]
#[ignore = "needs root"]
fn refused_entries_leave_nothing_in_the_tables() -> Result<()> {
    for (limit, storm, reason) in [
        ("--max-processes", "crowd", "processes_full"),
        ("--max-objects", "unread", "objects_full"),
    ] {
        let trace = CgroupTrace::begin_with("tracer-test-full", &[limit, "100"])?;
        trace.storm(storm, 400)?;
        trace.is_as_before(&format!("storm {storm} with {limit}"))?;
        let report = trace.end()?.report;
        ensure!(losses_for(&report, reason) > 0, "everything found room: {:?}", report.losses());
    }
    Ok(())
}

/// What the lost records would have told is found by full sweeps.
#[test]
#[ignore = "needs root"]
fn lost_records_leave_nothing_in_the_tables() -> Result<()> {
    let trace = CgroupTrace::begin("tracer-test-lost")?;
    trace.signal(Signal::STOP)?;
    let stormed = trace.storm("brief", 12_000);
    trace.signal(Signal::CONT)?;
    stormed?;
    trace.is_as_before("a storm whose records were lost")?;
    let report = trace.end()?.report;
    ensure!(losses_for(&report, "ring_full") > 0, "all records found room: {:?}", report.losses());
    Ok(())
}

/// A pty's two halves, a file and a socket.
#[test]
#[ignore = "needs root"]
fn every_kind_of_output_leaves_nothing_in_the_tables() -> Result<()> {
    let write = |kind| Workload::new("write").arg(Identity::Direct.word()).on(kind);
    let kinds = [Kind::Fifo, Kind::Socket, Kind::File, Kind::Pty, Kind::Null];
    each_leaves_nothing("tracer-test-kinds", kinds.map(write))
}

/// The killed processes have interrupted calls that never return to them.
#[test]
#[ignore = "needs root"]
fn writers_killed_in_an_interrupted_call_leave_nothing_in_the_tables() -> Result<()> {
    let mut trace = CgroupTrace::begin("tracer-test-killed")?;
    trace.leaves_nothing(&Workload::new("killed-when-interrupted"))?;
    trace.end()?.is_exact()
}

#[test]
#[ignore = "needs root"]
fn five_thousand_children_leave_nothing_in_the_tables() -> Result<()> {
    each_leaves_nothing("tracer-test-children", [Workload::new("children")])
}

/// What ended is taken out while its process lives on, as a shell does.
#[test]
#[ignore = "needs root"]
fn five_thousand_pipes_of_a_living_process_leave_nothing_in_the_tables() -> Result<()> {
    let mut trace = CgroupTrace::begin("tracer-test-pipes")?;
    let mut running = trace.spawn(&Workload::new("pipes"))?;
    running.open_gate()?;
    wait_until("the first child's output", || Ok(running.truth_so_far().ok()))?;
    // This process has a row too: it reads a file that the workload writes. The first reads may be too early for one.
    for _ in 0..10 {
        sleep(Duration::from_millis(200));
        running.truth_so_far()?;
    }
    let at_first = trace.at_rest()?;
    running.open_gate()?;
    wait_until("the output of all children", || {
        // The truth of thousands of processes is long: it must not take all of a CPU to read it.
        sleep(Duration::from_millis(200));
        let truth = running.truth_so_far()?;
        Ok(truth.rows().any(|(pid, row)| pid == running.pid() && row.calls == 2).then_some(()))
    })?;
    trace.returns_to(&at_first, "a living process with 5,000 pipes")?;
    running.open_gate()?;
    trace.finish(running)?;
    trace.is_as_before("a process with 5,000 pipes")?;
    trace.end()?.is_exact()
}
