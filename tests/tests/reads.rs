//! Every read counts, and only reads: what is looked at, cut, read late, read without a read call, or discarded.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use tracer_tests::{
    deadline::wait_until,
    expect,
    kernel::{URING_IS_COUNTED, is_at_least},
    report::{Finding, Object},
    scenario::{Traced, trace},
    stdio::Kind,
    workload::Workload,
};

/// Traces a workload; `None` if this kernel lacks what it needs.
fn run(workload: &Workload) -> Result<Option<Traced>> {
    let traced = trace(workload)?;
    if let Some(reason) = &traced.workload.skipped {
        eprintln!("SKIPPED: {reason}");
        return Ok(None);
    }
    Ok(Some(traced))
}

/// As [`run`], for a workload that needs counted io_uring requests.
fn run_on_a_ring(workload: &Workload) -> Result<Option<Traced>> {
    if !is_at_least(URING_IS_COUNTED)? {
        eprintln!("SKIPPED: this kernel does not tell which file a request is about");
        return Ok(None);
    }
    run(workload)
}

/// The object that the workload wrote to through this fd, the last one if there were several.
fn object_of(traced: &Traced, fd: i32) -> Result<&Object> {
    let rows = traced.workload.truth.rows().filter(|(_, row)| row.fd == fd);
    let id = rows.last().and_then(|(_, row)| row.object.clone()).context("no truth")?;
    let found = traced.report.objects.iter().find(|object| object.id == id);
    found.with_context(|| format!("{id} is not in the report: {:#?}", traced.report.objects))
}

/// Nothing was lost; as many bytes went into the object of this fd, and came out of it.
fn is_exact(traced: &Traced, fd: i32, written: u64, read: u64) -> Result<()> {
    expect::no_losses(&traced.report)?;
    let object = object_of(traced, fd)?;
    ensure!((object.written, object.read) == (Some(written), Some(read)), "{object:#?}");
    ensure!(object.doubts.is_empty() && object.balanced != Some(false), "{object:#?}");
    Ok(())
}

fn exact(name: &str, written: u64, read: u64) -> Result<()> {
    match run(&Workload::new(name))? {
        Some(traced) => is_exact(&traced, 1, written, read),
        None => Ok(()),
    }
}

fn exact_on_a_ring(name: &str, written: u64, read: u64) -> Result<()> {
    match run_on_a_ring(&Workload::new(name))? {
        Some(traced) => is_exact(&traced, 1, written, read),
        None => Ok(()),
    }
}

#[test]
#[ignore = "needs root"]
fn looking_at_bytes_takes_none_of_them() -> Result<()> {
    exact_on_a_ring("looks", 3000, 1000)
}

#[test]
#[ignore = "needs root"]
fn of_a_message_that_is_cut_only_the_delivered_bytes_are_read() -> Result<()> {
    exact_on_a_ring("cut-messages", 5000, 3000)
}

#[test]
#[ignore = "needs root"]
fn a_unix_socket_without_an_error_queue_is_read() -> Result<()> {
    exact_on_a_ring("no-error-queue", 2500, 2500)
}

#[test]
#[ignore = "needs root"]
fn a_read_that_returns_after_the_close_of_its_fd_is_counted() -> Result<()> {
    exact("closed-in-a-read", 5000, 5000)
}

/// Which of the two files was read cannot be told.
#[test]
#[ignore = "needs root"]
fn a_read_whose_fd_is_replaced_is_in_doubt() -> Result<()> {
    let Some(traced) = run(&Workload::new("replaced-in-a-read"))? else { return Ok(()) };
    let object = object_of(&traced, 1)?;
    ensure!(object.doubts == ["fd_raced"], "{object:#?}");
    traced.report.losses().iter().try_for_each(|(reason, _)| {
        ensure!(reason == "fd_raced", "{reason}");
        Ok(())
    })?;
    let is_false =
        |finding: &&Finding| finding.confidence == "certain" && finding.severity == "loss";
    let certain = traced.report.findings.iter().find(is_false);
    ensure!(certain.is_none(), "{certain:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_receive_that_returns_after_the_close_of_its_fd_is_counted() -> Result<()> {
    exact("closed-in-a-receive", 5000, 5000)
}

#[test]
#[ignore = "needs root"]
fn messages_of_a_queue_are_counted() -> Result<()> {
    exact("message-queue", 9000, 3600)
}

/// A file system that can clone, in an image; `None` if this machine cannot make one.
struct Reflinks(tempfile::TempDir);

impl Reflinks {
    fn mount() -> Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let (image, at) = (directory.path().join("image"), directory.path().join("mounted"));
        std::fs::create_dir(&at)?;
        std::fs::File::create(&image)?.set_len(400 << 20)?;
        let quiet = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
        };
        let is_there = quiet(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))
            && quiet(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        Ok(is_there.then_some(Self(directory)))
    }
}

impl Drop for Reflinks {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path().join("mounted")).status();
    }
}

#[test]
#[ignore = "needs root"]
fn bytes_that_a_file_shares_with_another_are_counted() -> Result<()> {
    let Some(mounted) = Reflinks::mount()? else {
        eprintln!("SKIPPED: this machine cannot make and mount an XFS image");
        return Ok(());
    };
    let at = mounted.0.path().join("mounted");
    let workload = Workload::new("clones").arg(at.to_str().context("the path is not UTF-8")?);
    let Some(traced) = run(&workload)? else { return Ok(()) };
    is_exact(&traced, 1, 9 * 4096, 0)
}

/// What a process discarded is unknown: the terminal is in doubt, and no other object.
fn is_doubted_only_there(way: &str) -> Result<()> {
    let Some(traced) = run(&Workload::new("flushes").arg(way))? else { return Ok(()) };
    let object = object_of(&traced, 1)?;
    ensure!(object.doubts == ["tty_flushed"], "{object:#?}");
    let sure = traced.report.objects.iter().filter(|other| other.id != object.id);
    let doubted: Vec<_> = sure.filter(|other| !other.doubts.is_empty()).collect();
    ensure!(doubted.is_empty(), "{doubted:#?}");
    let reasons: Vec<_> = traced.report.losses().into_iter().map(|(reason, _)| reason).collect();
    ensure!(reasons == ["tty_flushed"], "{reasons:?}");
    traced.report.has_no_finding("own_losses")
}

#[test]
#[ignore = "needs root"]
fn a_flushed_terminal_is_in_doubt() -> Result<()> {
    is_doubted_only_there("tcflush")
}

#[test]
#[ignore = "needs root"]
fn a_terminal_flushed_with_its_attributes_is_in_doubt() -> Result<()> {
    is_doubted_only_there("attributes")
}

#[test]
#[ignore = "needs root"]
fn a_pipe_read_by_one_request_many_times_is_counted() -> Result<()> {
    exact_on_a_ring("multishot-read", 12_000, 12_000)
}

#[test]
#[ignore = "needs root"]
fn a_socket_read_by_one_request_many_times_is_counted() -> Result<()> {
    exact_on_a_ring("multishot-receive", 12_000, 12_000)
}

#[test]
#[ignore = "needs root"]
fn requests_with_their_own_data_are_told_apart() -> Result<()> {
    let Some(traced) = run_on_a_ring(&Workload::new("own-data"))? else { return Ok(()) };
    is_exact(&traced, 1, 3000, 3000)?;
    is_exact(&traced, 2, 2000, 2000)
}

/// The object is in doubt, and findings about others are not.
#[test]
#[ignore = "needs root"]
fn requests_with_the_same_data_are_in_doubt() -> Result<()> {
    let Some(traced) = run_on_a_ring(&Workload::new("same-data"))? else { return Ok(()) };
    let object = object_of(&traced, 1)?;
    ensure!(object.doubts == ["uring_ambiguous"], "{object:#?}");
    let reasons: Vec<_> = traced.report.losses().into_iter().map(|(reason, _)| reason).collect();
    ensure!(reasons == ["uring_ambiguous"], "{reasons:?}");
    traced.report.has_no_finding("own_losses")
}

#[test]
#[ignore = "needs root"]
fn a_bundle_of_a_thousand_buffers_is_counted() -> Result<()> {
    exact_on_a_ring("bundle", 100_000, 100_000)
}

#[test]
#[ignore = "needs root"]
fn completions_without_room_are_counted() -> Result<()> {
    exact_on_a_ring("overflow", 4000, 3000)
}

/// Two of three: the third one reads a file that nothing is known of.
#[test]
#[ignore = "needs root"]
fn reads_without_completions_are_told() -> Result<()> {
    let Some(traced) = run_on_a_ring(&Workload::new("silent-reads"))? else { return Ok(()) };
    let losses = traced.report.losses();
    ensure!(losses == [("uring_silent".to_owned(), 2.into())], "{losses:?}");
    let is_false = |finding: &Finding| finding.rule == "unread" && finding.confidence == "certain";
    ensure!(!traced.report.findings.iter().any(is_false), "{:?}", traced.report.findings);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_splice_by_a_request_is_a_read() -> Result<()> {
    exact_on_a_ring("splices", 5000, 3000)
}

#[test]
#[ignore = "needs root"]
fn a_tee_by_a_request_is_no_read() -> Result<()> {
    exact_on_a_ring("tees", 4000, 1500)
}

#[test]
#[ignore = "needs root"]
fn a_request_from_before_the_trace_is_counted() -> Result<()> {
    exact_on_a_ring("pending-before", 700, 700)
}

/// The reader is no target, and has never read from the pipe when the trace begins.
#[test]
#[ignore = "needs root"]
fn a_request_of_another_process_from_before_the_trace_is_counted() -> Result<()> {
    if !is_at_least(URING_IS_COUNTED)? {
        eprintln!("SKIPPED: this kernel does not tell which file a request is about");
        return Ok(());
    }
    let (far, end) = pipe_with(PipeFlags::CLOEXEC)?;
    let reader = Workload::new("one-request").on(Kind::Null).reading(far).spawn()?;
    wait_until("the request to be pending", || Ok(reader.truth_so_far().ok()))?;
    let mut gate = tracer_tests::gate::Gate::create()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go <\"$0\"; echo 0123456789"]).arg(gate.path());
    shell.stdin(Stdio::null()).stdout(end).stderr(Stdio::null());
    let mut target = tracer_tests::deadline::OwnedChild::spawn(&mut shell, "sh")?;
    drop(shell);
    let id = tracer_tests::procfs::target_of(target.pid(), 1)?;
    let tracer = tracer_tests::tracer::Tracer::on_pid(target.pid()).start()?;
    gate.open()?;
    target.wait()?;
    let report = tracer.finish()?.report()?;
    let reader = reader.finish()?;
    ensure!(reader.skipped.is_none(), "SKIPPED: {:?}", reader.skipped);
    expect::no_losses(&report)?;
    let object = report.object(&id).with_context(|| id.clone())?;
    let taken: Vec<_> = object.readers.iter().map(|endpoint| endpoint.pid).collect();
    ensure!(object.read == Some(11) && taken == [reader.pid], "{object:#?}");
    Ok(())
}
