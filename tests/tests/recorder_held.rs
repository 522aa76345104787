//! The always-on recorder and processes that keep its helper processes from answering.

use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{OwnedChild, wait_until},
    procfs::{children_of, named},
    recorder::{Recorder, entries},
};

/// A helper process that is stopped answers as little as one that reads the memory of a process which holds it. Only
/// helpers know the arguments of a process that was moved into the cgroup.
#[test]
#[ignore = "needs root"]
fn helpers_that_do_not_answer_blind_no_recorder() -> Result<()> {
    const MOVED: usize = 6;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-held")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    let mut stopped = Stopped(Vec::new());
    let helpers = named("tracer-helper")?;
    for child in children_of(recorder.pid())?.into_iter().filter(|pid| helpers.contains(pid)) {
        let child = Pid::from_raw(child.try_into()?).context("no pid")?;
        kill_process(child, Signal::STOP)?;
        stopped.0.push(child);
    }
    ensure!(!stopped.0.is_empty(), "it has no helper process");
    let mut commands = Vec::new();
    for number in 0..MOVED {
        let mut moved = Command::new("dash");
        moved.args(["-c", "read go; echo out; read go", &format!("number-{number}")]);
        moved.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut moved = OwnedChild::spawn(&mut moved, "dash")?;
        cgroup.admit(moved.pid())?;
        moved.send(b"go\n")?;
        // For this long a helper may take for an answer.
        sleep(Duration::from_millis(2_500));
        moved.send(b"go\n")?;
        moved.wait()?;
        let pid = moved.pid();
        let found = wait_until("the entry", || {
            let all = entries(folder.path(), &["--name", "^dash$"])?;
            Ok(all.into_iter().find(|entry| entry["pid"] == pid))
        })?;
        commands.push(found["command"].as_str().unwrap_or_default().to_owned());
    }
    // The first ones were asked of helpers that did not answer.
    ensure!(commands.last().is_some_and(|last| last.ends_with("number-5")), "{commands:?}");
    recorder.stop()
}

/// Processes that were stopped; ended when dropped.
struct Stopped(Vec<Pid>);

impl Drop for Stopped {
    fn drop(&mut self) {
        for process in &self.0 {
            // The recorder has ended those that it gave up.
            let _ = kill_process(*process, Signal::KILL);
        }
    }
}
