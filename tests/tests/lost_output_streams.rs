//! Output that went elsewhere, was never written, or only seems to be lost.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    expect,
    goproc::Behaviour,
    managed::{Goproc, Managed},
    paths::{NATIVE, URING},
    scenario::trace,
    stdio::Kind,
    workload::{Workload, sibling_binary},
};

/// Traces a command under a correct manager and checks the counts.
fn managed(argv: &[&str]) -> Result<Managed> {
    let managed = Goproc::new(Behaviour::Faithful).trace(argv)?;
    managed.check()?;
    Ok(managed)
}

fn scenario(name: &str) -> Result<Managed> {
    managed(&[&sibling_binary("workload")?, name])
}

fn received(managed: &Managed) -> (u64, u64) {
    (managed.account.stdout.read, managed.account.stderr.read)
}

#[test]
#[ignore = "needs root"]
fn a_program_that_wrote_to_stderr_only_is_reported() -> Result<()> {
    // Not a loss: the output is on the other stream. Only a failure makes it a warning.
    for (script, severity) in
        [("echo trouble >&2", "info"), ("exec cat /none/such/file", "warning")]
    {
        let managed = managed(&["sh", "-c", script])?;
        let (out, err) = received(&managed);
        ensure!(out == 0 && err > 0, "{:?}", managed.account);
        let finding = managed.headline("other_stream")?.about(managed.account.pid)?;
        finding.expect("stdout_bytes", 0)?.expect("stderr_bytes", err)?;
        ensure!(finding.severity == severity, "{finding:?}");
    }
    Ok(())
}

/// Stdout is no terminal, so the program buffers, and it is killed before the first flush.
#[test]
#[ignore = "needs root"]
fn a_program_killed_before_its_first_flush_lost_its_buffer() -> Result<()> {
    let managed = scenario("never-flushed")?;
    ensure!(received(&managed) == (0, 0), "{:?}", managed.account);
    let finding = managed.headline("unflushed")?.about(managed.account.pid)?;
    finding.expect("signal", libc::SIGKILL)?.expect("stdout_bytes", 0)?;
    let silence = managed.report.finding("never_wrote")?.about(managed.account.pid)?;
    silence.expect("asked_for_terminal", true)?;
    Ok(())
}

/// All output arrived; that the program checked for a terminal is evidence.
#[test]
#[ignore = "needs root"]
fn a_program_that_checked_for_a_terminal_is_reported_with_its_bytes() -> Result<()> {
    let managed = scenario("asks-for-terminal")?;
    ensure!(received(&managed) == (31, 47), "{:?}", managed.account);
    let finding = managed.headline("delivered")?.about(managed.account.pid)?;
    finding.expect("no_terminal", vec![1, 2])?.expect("stdout_bytes", 31)?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_program_without_its_daemon_is_reported_with_the_failed_connect() -> Result<()> {
    let managed = scenario("without-daemon")?;
    ensure!(received(&managed) == (0, 92), "{:?}", managed.account);
    ensure!(managed.account.code == Some(1), "{:?}", managed.account);
    let finding = managed.report.finding("daemon_unreachable")?.about(managed.account.pid)?;
    ensure!(finding.message.contains(".sock") && finding.message.contains("ENOENT"), "{finding:?}");
    managed.report.finding("other_stream")?;
    managed.report.check_exit_code(managed.tracer.status.code())
}

/// The output is in the file that the program opened as fd 1.
#[test]
#[ignore = "needs root"]
fn a_program_that_redirected_its_output_is_reported_with_the_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("elsewhere.log");
    let path = path.to_str().context("a path of the test is not UTF-8")?;
    let script = format!("exec >{path}; echo lost");
    let managed = managed(&["sh", "-c", &script])?;
    ensure!(received(&managed) == (0, 0), "{:?}", managed.account);
    let finding = managed.headline("elsewhere")?.about(managed.account.pid)?;
    ensure!(finding.message.contains(path), "{finding:?}");
    ensure!(managed.report.written_to(path) == 5, "{:?}", managed.report.objects);
    let file = managed.report.object(path).context("the file is not listed")?;
    ensure!(file.size_after == Some(5), "{file:?}");
    Ok(())
}

/// Nothing on fd 1 or 2, and 700 bytes on a socket.
#[test]
#[ignore = "needs root"]
fn output_over_a_socket_is_reported_as_bytes_on_other_fds() -> Result<()> {
    let managed = scenario("over-socket")?;
    ensure!(received(&managed) == (0, 0), "{:?}", managed.account);
    managed.headline("never_wrote")?.about(managed.account.pid)?;
    // The bytes that each process appends to its truth file are included.
    let sender = managed.report.processes.iter().find(|own| own.ppid == Some(managed.account.pid));
    let elsewhere = sender.context("the sender is not listed")?.elsewhere.bytes;
    ensure!(elsewhere.is_some_and(|bytes| bytes >= 700), "{elsewhere:?}");
    Ok(())
}

/// The writer keeps the renamed file, which is one object with all bytes.
#[test]
#[ignore = "needs root"]
fn a_rotated_log_file_has_all_bytes_of_its_writer() -> Result<()> {
    let traced = trace(&Workload::new("rotated").on(Kind::File))?;
    expect::no_losses(&traced.report)?;
    let files = traced.report.objects.iter().filter(|object| object.written == Some(150));
    let sizes: Vec<_> = files.map(|object| object.size_after).collect();
    ensure!(sizes == [Some(150)], "{:?}", traced.report.objects);
    traced.report.has_no_finding("never_wrote")?;
    traced.report.has_no_loss()
}

#[test]
#[ignore = "needs root"]
fn no_write_path_is_reported_as_never_wrote() -> Result<()> {
    let mut failures = String::new();
    for path in NATIVE.iter().chain(&URING) {
        let checked = trace(&Workload::new(path.name).on(path.kind)).and_then(|traced| {
            expect::no_losses(&traced.report)?;
            traced.report.has_no_finding("never_wrote")?;
            traced.report.has_no_loss()?;
            traced.report.check_exit_code(traced.tracer.status.code())
        });
        if let Err(error) = checked {
            failures += &format!("{}: {error:#}\n", path.name);
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

/// Bytes written to the pipe by other calls than `write`.
#[test]
#[ignore = "needs root"]
fn output_of_every_write_path_to_a_pipe_is_delivered() -> Result<()> {
    let on_pipes = NATIVE.iter().chain(&URING).filter(|path| path.kind == Kind::Pipe);
    for path in on_pipes {
        let managed = scenario(path.name)?;
        let (out, err) = received(&managed);
        ensure!(out > 0 && err > 0, "{}: {:?}", path.name, managed.account);
        // Not necessarily the first finding: partial copies are reported as `put_off`.
        managed.report.finding("delivered")?;
        managed.report.has_no_finding("never_wrote")?;
        managed.report.has_no_loss()?;
    }
    Ok(())
}

/// Tracer cannot see writes in a sandbox or a virtual machine, so no write does not mean silence.
#[test]
#[ignore = "needs root"]
fn a_silent_sandbox_is_out_of_sight() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for (name, why) in [("runsc", "gvisor"), ("qemu-system-x86_64", "virtual machine")] {
        let path = directory.path().join(name);
        std::fs::copy(sibling_binary("workload")?, &path)?;
        let path = path.to_str().context("a path of the test is not UTF-8")?;
        let managed = managed(&[path, "silent"])?;
        let finding = managed.headline("out_of_sight")?.about(managed.account.pid)?;
        finding.expect("why", why)?;
        managed.report.has_no_finding("never_wrote")?;
    }
    Ok(())
}

/// SIGPIPE is a normal end for a part of a pipeline.
#[test]
#[ignore = "needs root"]
fn a_pipeline_that_ends_by_sigpipe_has_no_loss() -> Result<()> {
    let managed = managed(&["sh", "-c", "yes | head -c 10"])?;
    ensure!(received(&managed) == (10, 0), "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.has_no_loss()
}

/// A filter writes less than it reads.
#[test]
#[ignore = "needs root"]
fn a_filter_that_forwards_a_part_has_no_loss() -> Result<()> {
    let managed = managed(&["sh", "-c", "seq 1 500 | grep 77"])?;
    ensure!(received(&managed) == (19, 0), "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.has_no_finding("read_then_lost")?;
    managed.report.has_no_loss()
}

/// `sendfile` fails between two pipes, and busybox tries it before it reads and writes. That is not a
/// refused write.
#[test]
#[ignore = "needs root"]
fn a_failed_attempt_to_copy_is_no_refused_write() -> Result<()> {
    let managed =
        Goproc::new(Behaviour::Faithful).trace(&["sh", "-c", "seq 1 1000 | busybox cat"])?;
    managed.check()?;
    managed.report.finding("delivered")?;
    managed.report.has_no_finding("refused")?;
    managed.report.has_no_loss()
}
