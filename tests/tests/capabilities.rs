//! The capabilities of tracer's threads while it traces.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use tracer_tests::{
    capture::Capture,
    deadline::wait_until,
    expect::{self, MatchBy},
    privilege::{BPF, DAC_READ_SEARCH, SYS_PTRACE, has_only},
    tracer::Tracer,
    workload::Workload,
};

/// Checks the capabilities of all threads of tracer, and which threads there are.
fn each_thread(tracer: u32) -> Result<()> {
    let mut seen = Vec::new();
    for task in fs::read_dir(format!("/proc/{tracer}/task"))? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm"))?.trim().to_owned();
        let is_main = task.ends_with(tracer.to_string());
        let kept = match name.as_str() {
            _ if is_main => BPF | DAC_READ_SEARCH | SYS_PTRACE,
            "capture-write" => DAC_READ_SEARCH | SYS_PTRACE,
            _ => 0,
        };
        has_only(&fs::read_to_string(task.join("status"))?, kept).context(name.clone())?;
        if !is_main {
            seen.push(name);
        }
    }
    // Where runsc is installed, a thread reads what its sandboxes tell.
    seen.retain(|name| name != "gvisor");
    seen.sort();
    let expected = ["capture-drain", "capture-write", "signals", "tracer-stderr"];
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}

/// Uses all options that start a thread.
#[test]
#[ignore = "needs root"]
fn after_attaching_each_thread_has_only_the_documented_capabilities() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let (log, feed) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut running = Workload::new("deep").gated().spawn()?;
    let tracer = Tracer::on_pid(running.pid())
        .with_stdin(log.into())
        .args(["--show", "--worker-log", "-", "--capture"])
        .arg(parent.path().join("out"))
        .start()?;
    // A survey thread exists for a short time, with the capabilities of its parent.
    wait_until("the documented capabilities", || Ok(each_thread(tracer.pid()).ok()))
        .or_else(|_| each_thread(tracer.pid()))?;
    drop(feed);
    running.open_gate()?;
    let truth = running.finish()?.truth;
    let outcome = tracer.finish()?;
    expect::rows_agree(&outcome.report()?, &truth, MatchBy::Fd)?;
    ensure!(!outcome.stderr.contains("keeps"), "{}", outcome.stderr);
    Capture::load(&parent.path().join("out"))?.is_complete()
}
