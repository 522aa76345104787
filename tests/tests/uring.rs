//! Output through `io_uring`, where no write call is made: counted by completion.

use anyhow::Result;
use tracer_tests::{
    expect::{self, MatchBy},
    scenario::{every_identity, trace},
    workload::Workload,
};

#[test]
#[ignore = "needs root"]
fn uring_write_is_counted_to_the_byte() -> Result<()> {
    every_identity("uring-write", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_writev_is_counted_to_the_byte() -> Result<()> {
    every_identity("uring-writev", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_write_from_a_registered_buffer_is_counted_to_the_byte() -> Result<()> {
    every_identity("uring-write-fixed", MatchBy::Fd)
}

/// The request names an index in the ring's table, not an fd: process and object must be right.
#[test]
#[ignore = "needs root"]
fn uring_write_to_a_registered_file_is_counted_for_its_object() -> Result<()> {
    every_identity("uring-registered-file", MatchBy::Object)
}

/// The index is not taken for an fd number: the standard fd of the same file is told.
#[test]
#[ignore = "needs root"]
fn uring_write_to_registered_stdout_is_counted_for_fd_1_and_2() -> Result<()> {
    expect::exact(&trace(&Workload::new("uring-registered-file"))?)
}

#[test]
#[ignore = "needs root"]
fn uring_send_is_counted_to_the_byte() -> Result<()> {
    every_identity("uring-send", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_sendmsg_is_counted_to_the_byte() -> Result<()> {
    every_identity("uring-sendmsg", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn uring_splice_is_counted_to_the_byte() -> Result<()> {
    every_identity("uring-splice", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn requests_taken_by_the_submission_thread_are_counted_for_the_ring_s_process() -> Result<()> {
    every_identity("uring-sqpoll", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn requests_completed_by_a_kernel_worker_are_counted_for_the_ring_s_process() -> Result<()> {
    every_identity("uring-async", MatchBy::Fd)
}
