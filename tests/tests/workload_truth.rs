//! The workloads without a tracer: the bytes that each counts are those that arrive at the readers. All
//! other tests depend on this. No root needed, but without it the pid namespace is skipped.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    paths::{COMPAT, Identity, NATIVE, URING, WritePath},
    stdio::Kind,
    workload::{Finished, Workload},
};

/// Runs each path with each identity. The error lists all failures.
fn check_paths(paths: &[WritePath]) -> Result<()> {
    let mut failures = String::new();
    for path in paths {
        for identity in Identity::ALL {
            let workload = Workload::new(path.name).arg(identity.word()).on(path.kind);
            if let Err(error) = workload.run().and_then(|finished| check(&finished)) {
                failures += &format!("{}: {error:#}\n", workload.words());
            }
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

fn check(finished: &Finished) -> Result<()> {
    if let Some(reason) = &finished.skipped {
        eprintln!("SKIPPED: {reason}");
        return Ok(());
    }
    finished.check_arrival()?;
    ensure!(finished.truth.processes.contains_key(&finished.pid), "the first process is missing");
    Ok(())
}

fn run(name: &str, kind: Kind) -> Result<Finished> {
    let finished = Workload::new(name).on(kind).run().with_context(|| name.to_owned())?;
    check(&finished).with_context(|| name.to_owned())?;
    Ok(finished)
}

fn run_unread(name: &str, kind: Kind) -> Result<Finished> {
    let finished = Workload::new(name).on(kind).unread().run().with_context(|| name.to_owned())?;
    check(&finished).with_context(|| name.to_owned())?;
    Ok(finished)
}

fn errors(finished: &Finished, class: &str) -> u64 {
    finished.truth.rows().filter_map(|(_, row)| row.errors.get(class)).sum()
}

#[test]
fn native_paths_count_the_bytes_that_arrive() -> Result<()> {
    check_paths(&NATIVE)
}

#[test]
fn io_uring_paths_count_the_bytes_that_arrive() -> Result<()> {
    check_paths(&URING)
}

#[test]
fn compat_paths_count_the_bytes_that_arrive() -> Result<()> {
    check_paths(&COMPAT)
}

#[test]
fn every_path_writes_both_streams_with_different_sums() -> Result<()> {
    for path in NATIVE {
        let finished = Workload::new(path.name).on(path.kind).run()?;
        let [out, err] = finished.objects.each_ref().map(|id| finished.truth.written_to(id));
        ensure!(out > 0 && err > 0 && out != err, "{}: {out} and {err}", path.name);
    }
    Ok(())
}

#[test]
fn plain_writes_reach_every_kind_of_stdout() -> Result<()> {
    for kind in [Kind::Pipe, Kind::Fifo, Kind::Socket, Kind::File, Kind::Pty, Kind::Null] {
        let finished = run("write", kind).with_context(|| format!("{kind:?}"))?;
        ensure!(finished.truth.total() > 0);
    }
    Ok(())
}

#[test]
fn one_object_for_both_streams_gets_all_bytes() -> Result<()> {
    let finished = Workload::new("write").on_one_object().run()?;
    check(&finished)
}

#[test]
fn errors_are_counted_by_class() -> Result<()> {
    ensure!(errors(&run("epipe", Kind::ReaderlessPipe)?, "EPIPE") == 4);
    ensure!(errors(&run("ebadf", Kind::Pipe)?, "EBADF") == 2);
    ensure!(errors(&run("enospc", Kind::Full)?, "ENOSPC") == 3);
    ensure!(errors(&run("eio", Kind::HungUpPty)?, "EIO") == 2);
    ensure!(errors(&run_unread("eintr-pipe", Kind::Pipe)?, "EINTR") == 1);
    ensure!(errors(&run_unread("eintr-socket", Kind::Socket)?, "EINTR") == 1);
    let refused = run_unread("eagain", Kind::Pipe)?;
    ensure!(errors(&refused, "EAGAIN") == 4);
    ensure!(refused.truth.rows().map(|(_, row)| row.refused).sum::<u64>() == 74_397);
    Ok(())
}

#[test]
fn short_and_empty_writes_are_counted() -> Result<()> {
    let short = run_unread("short", Kind::Pipe)?;
    ensure!(short.truth.rows().map(|(_, row)| row.short).sum::<u64>() == 1);
    let zero = run("zero", Kind::Pipe)?;
    ensure!(zero.truth.rows().map(|(_, row)| row.zero).sum::<u64>() == 4);
    Ok(())
}

#[test]
fn a_restarted_write_counts_once() -> Result<()> {
    let restarted = run("restarted", Kind::Pipe)?;
    let calls: u64 = restarted.truth.rows().map(|(_, row)| row.calls).sum();
    ensure!(calls == 3 && restarted.truth.rows().all(|(_, row)| row.errors.is_empty()));
    Ok(())
}

#[test]
fn bytes_of_killed_writers_are_counted_for_them() -> Result<()> {
    let killed = run("sigkill", Kind::Pipe)?;
    ensure!(killed.truth.processes.len() == 2);
    ensure!(killed.truth.total() > 65_536, "only {} bytes", killed.truth.total());
    ensure!(errors(&run("sigpipe", Kind::Pipe)?, "EPIPE") == 1);
    Ok(())
}

#[test]
fn trees_count_the_bytes_that_arrive() -> Result<()> {
    let scenarios =
        [("wide", 1001), ("deep", 10), ("daemon", 3), ("vfork-exec", 2), ("thread-ends", 2)];
    for (name, processes) in scenarios {
        let finished = run(name, Kind::Pipe)?;
        let seen = finished.truth.processes.len();
        ensure!(seen == processes, "{name}: {seen} processes instead of {processes}");
    }
    Ok(())
}

#[test]
fn threads_count_the_bytes_that_arrive() -> Result<()> {
    for name in ["threads", "exec-thread"] {
        let finished = run(name, Kind::Pipe)?;
        ensure!(finished.truth.processes.len() == 1, "{name}: {:?}", finished.truth);
    }
    Ok(())
}

#[test]
fn a_pid_namespace_does_not_hide_the_outer_pid() -> Result<()> {
    let finished = run("pidns", Kind::Pipe)?;
    if finished.skipped.is_none() {
        let inner: Vec<u32> = finished
            .truth
            .processes
            .values()
            .filter(|process| process.pid != process.ns_pid)
            .map(|process| process.ns_pid)
            .collect();
        ensure!(inner == [1, 2], "pids in the namespace: {inner:?}");
    }
    Ok(())
}

#[test]
fn a_storm_counts_the_bytes_that_arrive() -> Result<()> {
    let finished = run("storm", Kind::Pipe)?;
    ensure!(finished.truth.processes.len() > 600);
    Ok(())
}

#[test]
fn a_gated_workload_writes_nothing_before_the_gate_opens() -> Result<()> {
    let mut running = Workload::new("before-and-after").gated().spawn()?;
    running.open_gate()?;
    let finished = running.finish()?;
    let arrived: u64 = finished.received.iter().flatten().map(|received| received.len()).sum();
    ensure!(finished.truth.total() == 777 + 55 && arrived == 777 + 55 + 12_345 + 54);
    Ok(())
}
