//! Output through `io_uring`, where no write call is made: counted by completion, or told as a loss
//! where the kernel does not say which file a request is about.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect::{self, MatchBy},
    kernel::{URING_IS_COUNTED, is_at_least},
    paths,
    scenario::{every_identity, trace},
    workload::Workload,
};

/// What is documented for this kernel: every byte, or that bytes are missing.
fn counted_or_told(name: &str, by: MatchBy) -> Result<()> {
    if is_at_least(URING_IS_COUNTED)? {
        return every_identity(name, by);
    }
    told(name)
}

/// The use of io_uring is the one loss, it comes first, and no byte is invented.
fn told(name: &str) -> Result<()> {
    let path = paths::find(name).with_context(|| format!("no path is called {name}"))?;
    let traced = trace(&Workload::new(path.name).on(path.kind))?;
    ensure!(traced.workload.skipped.is_none(), "SKIPPED: {:?}", traced.workload.skipped);
    traced.workload.check_arrival()?;
    expect::uring_is_told(&traced.report)?;
    for object in &traced.workload.objects {
        let written = traced.report.written_to(object);
        ensure!(written == 0, "{object}: {written} bytes that no call wrote");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn uring_write_is_counted_to_the_byte() -> Result<()> {
    counted_or_told("uring-write", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_writev_is_counted_to_the_byte() -> Result<()> {
    counted_or_told("uring-writev", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_write_from_a_registered_buffer_is_counted_to_the_byte() -> Result<()> {
    counted_or_told("uring-write-fixed", MatchBy::Fd)
}

/// The request names an index in the ring's table, not an fd: process and object must be right.
#[test]
#[ignore = "needs root"]
fn uring_write_to_a_registered_file_is_counted_for_its_object() -> Result<()> {
    counted_or_told("uring-registered-file", MatchBy::Object)
}

/// The index is not taken for an fd number: the standard fd of the same file is told.
#[test]
#[ignore = "needs root"]
fn uring_write_to_registered_stdout_is_counted_for_fd_1_and_2() -> Result<()> {
    if !is_at_least(URING_IS_COUNTED)? {
        return told("uring-registered-file");
    }
    expect::exact(&trace(&Workload::new("uring-registered-file"))?)
}

#[test]
#[ignore = "needs root"]
fn uring_send_is_counted_to_the_byte() -> Result<()> {
    counted_or_told("uring-send", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_sendmsg_is_counted_to_the_byte() -> Result<()> {
    counted_or_told("uring-sendmsg", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_splice_is_counted_to_the_byte() -> Result<()> {
    counted_or_told("uring-splice", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn requests_taken_by_the_submission_thread_are_counted_for_the_ring_s_process() -> Result<()> {
    counted_or_told("uring-sqpoll", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn requests_completed_by_a_kernel_worker_are_counted_for_the_ring_s_process() -> Result<()> {
    counted_or_told("uring-async", MatchBy::Fd)
}
