//! Process trees: every process is counted, and none twice.

use anyhow::{Result, ensure};
use tracer_tests::{
    expect,
    scenario::{Traced, trace, trace_with},
    workload::Workload,
};

fn exact(name: &str) -> Result<Traced> {
    let traced = trace(&Workload::new(name))?;
    expect::exact(&traced)?;
    Ok(traced)
}

#[test]
#[ignore = "needs root"]
fn a_thousand_children_are_counted_exactly() -> Result<()> {
    let traced = exact("wide")?;
    ensure!(traced.workload.truth.processes.len() == 1001);
    Ok(())
}

/// Rows whose slot is in use, and rows of objects that an fd gets later.
#[test]
#[ignore = "needs root"]
fn more_processes_than_slots_are_counted_exactly() -> Result<()> {
    let traced = exact("crowd")?;
    ensure!(traced.workload.truth.processes.len() == 801);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn ten_levels_of_descendants_are_followed() -> Result<()> {
    exact("deep").map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_daemon_is_followed_after_its_parents_are_gone() -> Result<()> {
    exact("daemon").map(drop)
}

#[test]
#[ignore = "needs root"]
fn threads_that_write_at_once_add_up() -> Result<()> {
    exact("threads").map(drop)
}

/// After a thread has ended, new fds and children of its process are still counted.
#[test]
#[ignore = "needs root"]
fn the_end_of_one_thread_is_not_the_end_of_its_process() -> Result<()> {
    exact("thread-ends").map(drop)
}

#[test]
#[ignore = "needs root"]
fn an_exec_by_another_thread_keeps_the_process() -> Result<()> {
    exact("exec-thread").map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_vforked_child_is_counted_before_and_after_its_exec() -> Result<()> {
    exact("vfork-exec").map(drop)
}

#[test]
#[ignore = "needs root"]
fn processes_in_another_pid_namespace_are_reported_with_both_pids() -> Result<()> {
    let traced = exact("pidns")?;
    for process in traced.workload.truth.processes.values() {
        let reported = traced.report.of_pid(process.pid).next().and_then(|found| found.ns_pid);
        ensure!(
            reported == Some(process.ns_pid),
            "pid {} is {} in its namespace, reported as {reported:?}",
            process.pid,
            process.ns_pid
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn no_children_excludes_children() -> Result<()> {
    let workload = Workload::new("write").arg("fork");
    let traced = trace_with(&workload, |tracer| tracer.arg("--no-children"))?;
    let pid = traced.workload.pid;
    ensure!(traced.report.processes.iter().all(|process| process.pid == pid));
    let own = &traced.workload.truth.processes[&pid];
    let written: u64 = own.fds.iter().filter(|row| row.fd == 1).map(|row| row.bytes).sum();
    ensure!(traced.report.bytes_of(pid, 1) == written);
    expect::no_losses(&traced.report)
}

#[test]
#[ignore = "needs root"]
fn an_exec_shows_the_new_command_line() -> Result<()> {
    let traced = trace(&Workload::new("write").arg("exec"))?;
    let argv: Vec<_> = traced.report.of_pid(traced.workload.pid).map(|found| &found.argv).collect();
    ensure!(
        argv.iter().any(|argv| argv.last().is_some_and(|word| word == "direct")),
        "the command line after the exec is not reported: {argv:?}"
    );
    Ok(())
}
