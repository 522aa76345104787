//! Bytes, calls and errors of every write path and fd identity equal the workload's own counts. There is
//! one test per path, so that a broken path fails one test.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect::{self, MatchBy, every_identity},
    scenario::trace,
    stdio::Kind,
    workload::Workload,
};

#[test]
#[ignore = "needs root"]
fn write_is_counted_to_the_byte() -> Result<()> {
    every_identity("write", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn pwrite64_is_counted_to_the_byte() -> Result<()> {
    every_identity("pwrite64", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn writev_is_counted_to_the_byte() -> Result<()> {
    every_identity("writev", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn pwritev_is_counted_to_the_byte() -> Result<()> {
    every_identity("pwritev", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn pwritev2_is_counted_to_the_byte() -> Result<()> {
    every_identity("pwritev2", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn sendto_is_counted_to_the_byte() -> Result<()> {
    every_identity("sendto", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn sendmsg_is_counted_to_the_byte() -> Result<()> {
    every_identity("sendmsg", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn sendmmsg_is_counted_in_bytes_of_all_messages() -> Result<()> {
    every_identity("sendmmsg", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn sendfile_is_counted_to_the_byte() -> Result<()> {
    every_identity("sendfile", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn splice_is_counted_to_the_byte() -> Result<()> {
    every_identity("splice", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn tee_is_counted_to_the_byte() -> Result<()> {
    every_identity("tee", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn vmsplice_is_counted_to_the_byte() -> Result<()> {
    every_identity("vmsplice", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn copy_file_range_is_counted_to_the_byte() -> Result<()> {
    every_identity("copy_file_range", MatchBy::Fd)
}

/// Checks that writes to this kind of stdout are exact and that the kind is reported.
fn kind_is_reported(kind: Kind) -> Result<()> {
    let traced = trace(&Workload::new("write").on(kind))?;
    expect::exact(&traced)?;
    let row = traced
        .report
        .rows()
        .find(|(pid, row)| *pid == traced.workload.pid && row.fd == Some(1))
        .with_context(|| format!("{kind:?}: fd 1 is not listed"))?
        .1;
    ensure!(Some(row.kind.as_str()) == kind.reported_as(), "{kind:?} is called {}", row.kind);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn stdout_on_a_pipe_is_called_a_pipe() -> Result<()> {
    kind_is_reported(Kind::Pipe)
}

#[test]
#[ignore = "needs root"]
fn stdout_on_a_fifo_is_called_a_fifo() -> Result<()> {
    kind_is_reported(Kind::Fifo)
}

#[test]
#[ignore = "needs root"]
fn stdout_on_a_socket_is_called_a_socket() -> Result<()> {
    kind_is_reported(Kind::Socket)
}

#[test]
#[ignore = "needs root"]
fn stdout_on_a_file_is_called_a_file() -> Result<()> {
    kind_is_reported(Kind::File)
}

#[test]
#[ignore = "needs root"]
fn stdout_on_a_terminal_is_called_a_pty() -> Result<()> {
    kind_is_reported(Kind::Pty)
}

#[test]
#[ignore = "needs root"]
fn stdout_on_dev_null_is_called_null() -> Result<()> {
    kind_is_reported(Kind::Null)
}

#[test]
#[ignore = "needs root"]
fn two_streams_on_one_pipe_are_counted_separately() -> Result<()> {
    expect::exact(&trace(&Workload::new("write").on_one_object())?)
}

/// The reader is this test, which is neither a target nor a descendant of one.
#[test]
#[ignore = "needs root"]
fn the_reader_of_a_pipe_is_found_with_the_bytes_it_read() -> Result<()> {
    let traced = trace(&Workload::new("write"))?;
    expect::exact(&traced)?;
    for id in &traced.workload.objects {
        let object = traced.report.object(id).with_context(|| format!("{id} is not listed"))?;
        let own = std::process::id();
        let read: u64 = object.readers.iter().filter(|it| it.pid == own).map(|it| it.bytes).sum();
        // The trace can end before the reader has read everything.
        let accounted = read + object.unread.unwrap_or(0);
        ensure!(read > 0 && Some(accounted) == object.written, "{id}: {object:?}");
    }
    Ok(())
}

/// The reading side of a copy between two fds is counted, too.
#[test]
#[ignore = "needs root"]
fn bytes_spliced_out_of_a_pipe_are_counted_as_read() -> Result<()> {
    let traced = trace(&Workload::new("spliced-away"))?;
    expect::exact(&traced)?;
    let read = traced.report.objects.iter().any(|object| object.read == Some(8400));
    ensure!(read, "8400 bytes were read: {:?}", traced.report.objects);
    Ok(())
}

/// A copy that stops at a full pipe or at the end of the source is not a short write.
#[test]
#[ignore = "needs root"]
fn a_copy_in_several_calls_has_no_short_writes() -> Result<()> {
    let traced = trace(&Workload::new("sendfile"))?;
    expect::exact(&traced)?;
    let short: u64 = traced.report.rows().map(|(_, row)| row.short).sum();
    ensure!(short == 0, "{short} short writes reported");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_silent_process_is_listed_with_two_empty_streams() -> Result<()> {
    let traced = trace(&Workload::new("silent"))?;
    for fd in [1, 2] {
        let listed = traced
            .report
            .rows()
            .any(|(pid, row)| pid == traced.workload.pid && row.fd == Some(fd) && row.bytes == 0);
        ensure!(listed, "fd {fd} of a silent process is not listed");
    }
    ensure!(traced.tracer.status.code() == Some(1), "nothing written is a finding");
    expect::exact(&traced)
}

#[test]
#[ignore = "needs root"]
fn output_that_is_written_at_the_end_is_held_back() -> Result<()> {
    let traced = trace(&Workload::new("held-back"))?;
    expect::exact(&traced)?;
    let reported = traced.report.findings.iter().any(|finding| finding.rule == "held_back");
    ensure!(reported, "{:?}", traced.report.findings);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn output_that_arrived_in_full_ends_with_exit_code_0() -> Result<()> {
    let traced = trace(&Workload::new("write"))?;
    ensure!(traced.tracer.status.code() == Some(0), "{:?}", traced.tracer);
    expect::exact(&traced)
}
