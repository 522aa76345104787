//! A capture has exactly the bytes that the reader received, for every write path.

use std::fs;

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    capture::{Captured, capture, capture_with},
    content,
    deadline::wait_until,
    expect,
    paths::{self, Identity},
    stdio::Kind,
    tracer::Tracer,
    workload::{Workload, sibling_binary},
};

/// Captures a workload and checks that the capture is complete.
fn exact(workload: &Workload) -> Result<()> {
    let Some(captured) = capture(workload)? else { return Ok(()) };
    captured.check()
}

/// Captures each of these paths with each of these identities and runs `check`. The error lists all
/// failures.
fn each(names: &[&str], identities: &[Identity], check: fn(&Captured) -> Result<()>) -> Result<()> {
    let mut failures = String::new();
    for name in names {
        let path = paths::find(name).with_context(|| format!("unknown path {name}"))?;
        for identity in identities {
            let workload = Workload::new(path.name).arg(identity.word()).on(path.kind);
            let checked =
                capture(&workload).and_then(|captured| captured.as_ref().map_or(Ok(()), check));
            if let Err(error) = checked {
                failures += &format!("{name} {}: {error:#}\n", identity.word());
            }
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

/// [`each`] with inherited fds. The location of the bytes does not depend on the fd.
fn every_path(names: &[&str], check: fn(&Captured) -> Result<()>) -> Result<()> {
    each(names, &[Identity::Direct], check)
}

#[test]
#[ignore = "needs root"]
fn text_on_both_streams() -> Result<()> {
    exact(&Workload::new("text"))
}

#[test]
#[ignore = "needs root"]
fn every_byte_value() -> Result<()> {
    exact(&Workload::new("every-byte"))
}

#[test]
#[ignore = "needs root"]
fn characters_that_are_split_between_two_writes() -> Result<()> {
    exact(&Workload::new("cut-characters"))
}

#[test]
#[ignore = "needs root"]
fn a_hundred_thousand_writes_of_one_byte() -> Result<()> {
    exact(&Workload::new("single-bytes").arg("100000"))
}

#[test]
#[ignore = "needs root"]
fn single_writes_of_many_lengths() -> Result<()> {
    // Around the sizes of a record and of a pipe, up to the capacity of the default ring.
    let lengths = [16_383, 16_384, 16_385, 32_768, 65_536, 65_537, 1 << 20, 16 << 20];
    lengths.into_iter().try_for_each(|length: u32| {
        exact(&Workload::new("one-write").arg(&length.to_string()))
            .with_context(|| format!("{length} bytes"))
    })
}

/// The bytes after the first 32 MiB of one call are a gap.
#[test]
#[ignore = "needs root"]
fn the_end_of_a_huge_write_is_a_gap() -> Result<()> {
    const CALL: u64 = 32 << 20;
    let length = CALL + 100_003;
    let workload = Workload::new("one-write").arg(&length.to_string());
    let captured = capture_with(&workload, |tracer| tracer.args(["--capture-buffer", "128MiB"]))?;
    let captured = captured.context("skipped")?;
    let stream = captured.stream(1)?;
    stream.check_against(captured.received()?)?;
    let gaps: Vec<_> = stream.gaps().map(|gap| (gap.offset, gap.length, &*gap.reason)).collect();
    ensure!(gaps == [(CALL, 100_003, "too_large")], "{gaps:?}");
    expect::exact(&captured.traced)
}

#[test]
#[ignore = "needs root"]
fn one_call_with_1024_segments_some_of_them_empty() -> Result<()> {
    exact(&Workload::new("many-segments"))
}

#[test]
#[ignore = "needs root"]
fn every_call_that_writes_from_memory() -> Result<()> {
    every_path(&["write", "pwrite64", "writev", "pwritev", "pwritev2", "vmsplice"], Captured::check)
}

/// Duplicates of an fd, children, writes before and after an exec.
#[test]
#[ignore = "needs root"]
fn fds_of_every_identity() -> Result<()> {
    each(&["write", "uring-writev"], &Identity::ALL, Captured::check)
}

#[test]
#[ignore = "needs root"]
fn every_call_that_sends_to_a_socket() -> Result<()> {
    every_path(&["sendto", "sendmsg", "sendmmsg"], Captured::check)
}

#[test]
#[ignore = "needs root"]
fn requests_to_an_io_uring() -> Result<()> {
    let names = ["uring-writev", "uring-write-fixed", "uring-send", "uring-sendmsg"];
    every_path(&names, Captured::check)
}

/// Several concurrent requests, captured in the order of their completions.
#[test]
#[ignore = "needs root"]
fn concurrent_requests_to_an_io_uring() -> Result<()> {
    every_path(&["uring-write", "uring-sqpoll", "uring-async"], Captured::check_in_any_order)
}

/// A request with an index is captured under the fd of the same file.
#[test]
#[ignore = "needs root"]
fn requests_to_a_registered_file() -> Result<()> {
    exact(&Workload::new("uring-registered-file"))
}

#[test]
#[ignore = "needs root"]
fn calls_by_the_32_bit_entry_point() -> Result<()> {
    let names = [
        "compat-write",
        "compat-writev",
        "compat-pwrite64",
        "compat-socketcall-send",
        "compat-sendto",
    ];
    every_path(&names, Captured::check)
}

/// Checks that every byte is in a gap with the reason `copied`, and that the counts are exact.
fn only_copied(captured: &Captured) -> Result<()> {
    for stream in captured.capture.streams.values() {
        stream.only_misses(&["copied"])?;
        let total = stream.total()?;
        ensure!(total.missing == total.written && total.written > 0, "{total:?}");
        ensure!(stream.gaps().all(|gap| gap.source.is_some()), "a gap without a source");
    }
    ensure!(captured.capture.streams.len() >= 2, "{:?}", captured.capture);
    expect::exact(&captured.traced)
}

#[test]
#[ignore = "needs root"]
fn bytes_copied_by_the_kernel_are_a_gap_of_their_length() -> Result<()> {
    every_path(&["sendfile", "splice", "tee", "copy_file_range", "compat-sendfile64"], only_copied)
}

#[test]
#[ignore = "needs root"]
fn a_gap_copied_from_a_file_has_its_position_and_names_the_file() -> Result<()> {
    const LENGTH: u64 = 100_003;
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let workload = Workload::new("copied-program").arg(&LENGTH.to_string()).gated();
    let mut running = workload.spawn()?;
    let tracer = Tracer::on_pid(running.pid()).arg("--capture").arg(&directory).start()?;
    running.open_gate()?;
    wait_until("the copy to be in the index", || {
        let index = fs::read_to_string(directory.join("index"))?;
        Ok(index.contains("copied").then_some(()))
    })?;
    running.open_gate()?;
    let workload = running.finish()?;
    let outcome = tracer.finish()?;
    let capture = tracer_tests::capture::Capture::load(&directory)?;
    let report = outcome.report()?;
    capture.check_report(&report)?;
    expect::no_losses(&report)?;
    let stream = capture.stream(workload.pid, 1)?;
    stream.check_against(workload.stdout()?)?;
    ensure!(stream.bytes == b"beforeafter", "{:?}", stream.bytes);
    let program = fs::canonicalize(sibling_binary("workload")?)?.display().to_string();
    let gaps: Vec<_> = stream.gaps().collect();
    let [gap] = gaps[..] else { anyhow::bail!("{gaps:?}") };
    ensure!((gap.offset, gap.length) == (6, LENGTH), "{gap:?}");
    ensure!(gap.source == Some(program), "{gap:?}");
    Ok(())
}

/// `/dev/null` cannot be read, so the capture is compared with the workload's data.
#[test]
#[ignore = "needs root"]
fn output_to_dev_null_is_captured() -> Result<()> {
    const LENGTH: usize = 500_009;
    let workload = Workload::new("flood").arg("1").arg(&LENGTH.to_string()).on(Kind::Null);
    let captured = capture(&workload)?.context("skipped")?;
    captured.stream(1)?.check_against(&content::bytes(1, 0, LENGTH))?;
    captured.capture.is_complete()
}

#[test]
#[ignore = "needs root"]
fn output_to_other_kinds_of_objects_is_captured() -> Result<()> {
    for kind in [Kind::File, Kind::Fifo, Kind::Pty, Kind::Socket] {
        exact(&Workload::new("text").on(kind)).with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

/// A failed write has no bytes; a short write has the bytes that the kernel accepted.
#[test]
#[ignore = "needs root"]
fn only_accepted_bytes_are_captured() -> Result<()> {
    for name in ["eagain", "short", "eagain-overcome"] {
        exact(&Workload::new(name).unread()).with_context(|| name.to_owned())?;
    }
    Ok(())
}
