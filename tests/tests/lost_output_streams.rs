//! Output that went somewhere else than people look, that never was, or that is falsely missed.

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

/// Under a manager that does everything right; the ledger is checked.
fn managed(argv: &[&str]) -> Result<Managed> {
    let managed = Goproc::new(Behaviour::Faithful).trace(argv)?;
    managed.check()?;
    Ok(managed)
}

fn scenario(name: &str) -> Result<Managed> {
    let workload = sibling_binary("workload")?;
    managed(&[workload.to_str().context("a path of this build is not UTF-8")?, name])
}

fn received(managed: &Managed) -> (u64, u64) {
    (managed.account.stdout.read, managed.account.stderr.read)
}

/// C14.
#[test]
#[ignore = "needs root"]
fn a_program_that_spoke_on_stderr_only_is_told_so() -> Result<()> {
    for argv in [&["sh", "-c", "echo trouble >&2"], &["sh", "-c", "exec cat /none/such/file"]] {
        let managed = managed(argv)?;
        let (out, err) = received(&managed);
        ensure!(out == 0 && err > 0, "{:?}", managed.account);
        let finding = managed.headline("other_stream")?.about(managed.account.pid)?;
        finding.expect("stdout_bytes", 0)?.expect("stderr_bytes", err)?;
        // Nothing was lost: it is somewhere else than one looks.
        ensure!(finding.severity == "warning", "{finding:?}");
    }
    Ok(())
}

/// C12: it asked, was told no, and was killed with its buffer full.
#[test]
#[ignore = "needs root"]
fn a_program_killed_before_its_first_flush_never_wrote() -> Result<()> {
    let managed = scenario("never-flushed")?;
    ensure!(received(&managed) == (0, 0), "{:?}", managed.account);
    let finding = managed.headline("never_wrote")?.about(managed.account.pid)?;
    finding.expect("asked_for_terminal", true)?.expect("signal", libc::SIGKILL)?;
    Ok(())
}

/// C13: everything it chose to say arrived; that it was told `no terminal` is worth a line.
#[test]
#[ignore = "needs root"]
fn a_program_that_was_refused_a_terminal_is_told_with_what_it_wrote() -> Result<()> {
    let managed = scenario("asks-for-terminal")?;
    ensure!(received(&managed) == (31, 47), "{:?}", managed.account);
    managed.headline("delivered")?;
    let finding = managed.report.finding("no_terminal")?.about(managed.account.pid)?;
    ensure!(finding.severity == "info", "{finding:?}");
    finding.expect("wrote", 31)?;
    Ok(())
}

/// C15.
#[test]
#[ignore = "needs root"]
fn a_program_without_its_daemon_is_told_with_the_failed_connect() -> Result<()> {
    let managed = scenario("without-daemon")?;
    ensure!(received(&managed) == (0, 92), "{:?}", managed.account);
    ensure!(managed.account.code == Some(1), "{:?}", managed.account);
    let finding = managed.report.finding("daemon_unreachable")?.about(managed.account.pid)?;
    ensure!(finding.message.contains(".sock") && finding.message.contains("ENOENT"), "{finding:?}");
    managed.report.finding("other_stream")?;
    managed.report.check_exit_code(managed.tracer.status.code())
}

/// C26: the bytes are in the file that it opened as its fd 1.
#[test]
#[ignore = "needs root"]
fn a_program_that_redirected_itself_is_told_with_the_file() -> Result<()> {
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

/// C23: nothing on fd 1 or 2, and 700 bytes on a socket.
#[test]
#[ignore = "needs root"]
fn output_by_message_is_told_as_bytes_on_other_fds() -> Result<()> {
    let managed = scenario("by-message")?;
    ensure!(received(&managed) == (0, 0), "{:?}", managed.account);
    managed.headline("never_wrote")?.about(managed.account.pid)?;
    // The truth that each process appends to its file goes elsewhere as well.
    let sender = managed.report.processes.iter().find(|own| own.ppid == Some(managed.account.pid));
    let elsewhere = sender.context("the sender is not listed")?.elsewhere.bytes;
    ensure!(elsewhere.is_some_and(|bytes| bytes >= 700), "{elsewhere:?}");
    Ok(())
}

/// C20: the writer stays on the file that was renamed; it is one object with all the bytes.
#[test]
#[ignore = "needs root"]
fn a_rotated_log_file_keeps_its_writers_bytes() -> Result<()> {
    let traced = trace(&Workload::new("rotated").on(Kind::File))?;
    expect::no_losses(&traced.report)?;
    let files = traced.report.objects.iter().filter(|object| object.written == Some(150));
    let sizes: Vec<_> = files.map(|object| object.size_after).collect();
    ensure!(sizes == [Some(150)], "{:?}", traced.report.objects);
    traced.report.never_says("never_wrote")?;
    traced.report.accuses_nobody()
}

/// C27: no way of writing is taken for silence.
#[test]
#[ignore = "needs root"]
fn no_way_of_writing_is_taken_for_silence() -> Result<()> {
    let mut failures = String::new();
    for path in NATIVE.iter().chain(&URING) {
        let checked = trace(&Workload::new(path.name).on(path.kind)).and_then(|traced| {
            expect::no_losses(&traced.report)?;
            traced.report.never_says("never_wrote")?;
            traced.report.accuses_nobody()?;
            traced.report.check_exit_code(traced.tracer.status.code())
        });
        if let Err(error) = checked {
            failures += &format!("{}: {error:#}\n", path.name);
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

/// C27 under a manager: what was copied into the pipe by other calls than `write` arrived.
#[test]
#[ignore = "needs root"]
fn what_was_copied_into_a_pipe_is_delivered() -> Result<()> {
    let on_pipes = NATIVE.iter().chain(&URING).filter(|path| path.kind == Kind::Pipe);
    for path in on_pipes {
        let managed = scenario(path.name)?;
        let (out, err) = received(&managed);
        ensure!(out > 0 && err > 0, "{}: {:?}", path.name, managed.account);
        // Copies may come in parts, which is worth a line of its own (`put_off`).
        managed.report.finding("delivered")?;
        managed.report.never_says("never_wrote")?;
        managed.report.accuses_nobody()?;
    }
    Ok(())
}

/// A sandbox or a virtual machine makes its guest's writes unseen: silence proves nothing.
#[test]
#[ignore = "needs root"]
fn a_silent_sandbox_is_out_of_sight_and_not_silent() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for (name, why) in [("runsc", "gvisor"), ("qemu-system-x86_64", "virtual machine")] {
        let path = directory.path().join(name);
        std::fs::copy(sibling_binary("workload")?, &path)?;
        let path = path.to_str().context("a path of the test is not UTF-8")?;
        let managed = managed(&[path, "silent"])?;
        let finding = managed.headline("out_of_sight")?.about(managed.account.pid)?;
        finding.expect("why", why)?;
        managed.report.never_says("never_wrote")?;
    }
    Ok(())
}

/// SIGPIPE between the parts of a pipeline is how it is meant to end.
#[test]
#[ignore = "needs root"]
fn a_pipeline_that_took_what_it_wanted_is_not_accused() -> Result<()> {
    let managed = managed(&["sh", "-c", "yes | head -c 10"])?;
    ensure!(received(&managed) == (10, 0), "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.accuses_nobody()
}

/// Filters read more than they write, by design.
#[test]
#[ignore = "needs root"]
fn a_filter_that_passes_on_a_part_is_not_accused() -> Result<()> {
    let managed = managed(&["sh", "-c", "seq 1 500 | grep 77"])?;
    ensure!(received(&managed) == (19, 0), "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.never_says("read_then_lost")?;
    managed.report.accuses_nobody()
}

/// A copy that the kernel cannot make between two pipes is the program's probe, and no refusal:
/// busybox tries `sendfile` before it reads and writes.
#[test]
#[ignore = "needs root"]
fn a_copy_that_was_tried_in_vain_is_no_refusal() -> Result<()> {
    let managed =
        Goproc::new(Behaviour::Faithful).trace(&["sh", "-c", "seq 1 1000 | busybox cat"])?;
    managed.check()?;
    managed.report.finding("delivered")?;
    managed.report.never_says("refused")?;
    managed.report.accuses_nobody()
}
