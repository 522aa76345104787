//! Output by `io_uring`, without write calls. It is counted at completion, or reported as a loss on kernels
//! whose tracepoints do not have the request's file.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect::{self, MatchBy, every_identity},
    kernel::{URING_IS_COUNTED, is_at_least},
    paths,
    scenario::trace,
    workload::Workload,
};

/// Checks what is documented for this kernel: exact counts, or a reported loss.
fn counted_or_reported(name: &str, by: MatchBy) -> Result<()> {
    if is_at_least(URING_IS_COUNTED)? {
        return every_identity(name, by);
    }
    reported_as_loss(name)
}

/// Checks that the use of io_uring is the only loss and the first finding, and that no byte is counted.
fn reported_as_loss(name: &str) -> Result<()> {
    let path = paths::find(name).with_context(|| format!("unknown path {name}"))?;
    let traced = trace(&Workload::new(path.name).on(path.kind))?;
    ensure!(traced.workload.skipped.is_none(), "SKIPPED: {:?}", traced.workload.skipped);
    traced.workload.check_arrival()?;
    expect::uring_loss_is_reported(&traced.report)?;
    for object in &traced.workload.objects {
        let written = traced.report.written_to(object);
        ensure!(written == 0, "{object}: {written} bytes are counted");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn uring_write_is_counted_to_the_byte() -> Result<()> {
    counted_or_reported("uring-write", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_writev_is_counted_to_the_byte() -> Result<()> {
    counted_or_reported("uring-writev", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_write_from_a_registered_buffer_is_counted_to_the_byte() -> Result<()> {
    counted_or_reported("uring-write-fixed", MatchBy::Fd)
}

/// The request has an index into the ring's table, no fd. Process and object must be correct.
#[test]
#[ignore = "needs root"]
fn uring_write_to_a_registered_file_is_counted_for_its_object() -> Result<()> {
    counted_or_reported("uring-registered-file", MatchBy::Object)
}

/// The index is not mistaken for an fd: the row has the standard fd of the same file.
#[test]
#[ignore = "needs root"]
fn uring_write_to_registered_stdout_is_counted_for_fd_1_and_2() -> Result<()> {
    if !is_at_least(URING_IS_COUNTED)? {
        return reported_as_loss("uring-registered-file");
    }
    expect::exact(&trace(&Workload::new("uring-registered-file"))?)
}

#[test]
#[ignore = "needs root"]
fn uring_send_is_counted_to_the_byte() -> Result<()> {
    counted_or_reported("uring-send", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_sendmsg_is_counted_to_the_byte() -> Result<()> {
    counted_or_reported("uring-sendmsg", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_splice_is_counted_to_the_byte() -> Result<()> {
    counted_or_reported("uring-splice", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn requests_of_the_submission_thread_are_counted_for_the_rings_process() -> Result<()> {
    counted_or_reported("uring-sqpoll", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn requests_completed_by_a_kernel_worker_are_counted_for_the_rings_process() -> Result<()> {
    counted_or_reported("uring-async", MatchBy::Fd)
}
