//! `--attach fexit`: exact from the first call on, or refused in one sentence. `cargo xtask vm --fexit` runs all other
//! tests with it.

use std::{
    io::pipe,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{OwnedChild, wait_until},
    expect,
    fexit::{has_sys_exit, poll_in_this_process},
    procfs::object_of,
    reader::{Pace, Reader},
    recorder::{self, Recorder},
    refusal::{self, ENVIRONMENT, check},
    tracer::{Tracer, check_status},
};

/// What the doctor says about fexit here, after its mark.
fn doctor() -> Result<(char, String)> {
    let output = refusal::run(&["doctor", "--color", "never"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().skip_while(|line| !line.contains("hook fexit"));
    let first = lines.next().context("the doctor says nothing about fexit")?;
    let rest = lines.take_while(|line| line.starts_with(' ')).map(str::trim);
    let line = std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" ");
    let mark = line.chars().next().context("no mark")?;
    Ok((mark, line))
}

/// Whether fexit is exact here.
fn is_exact() -> Result<bool> {
    // A `read` of this process that sleeps since before the attach would keep `sys_exit` attached.
    poll_in_this_process();
    Ok(doctor()?.0 == '✓')
}

/// Whether this kernel lets fexit programs be attached at all.
fn is_possible() -> Result<bool> {
    let (mark, line) = doctor()?;
    Ok(mark == '✓' || line.contains("can preempt"))
}

#[test]
#[ignore = "needs root"]
fn fexit_counts_or_one_sentence_says_why_not() -> Result<()> {
    let arguments = ["--attach", "fexit", "--", "sh", "-c", "echo some output"];
    let output = refusal::run(&arguments)?;
    if is_possible()? {
        check_status(output.status)?;
        let report = String::from_utf8_lossy(&output.stderr);
        // A kernel that can preempt the programs skips some runs now and then, and says so.
        let is_lost = !is_exact()? && report.contains("skipped_runs");
        ensure!(is_lost || report.contains("wrote 12 B to stdout"), "{report}");
        return Ok(());
    }
    check(&output, ENVIRONMENT, &["fexit program", "leave out --attach fexit"])
}

/// Asked to choose, a recorder attaches what is exact, whatever the kernel refuses.
#[test]
#[ignore = "needs root"]
fn a_recorder_that_may_choose_attaches_what_is_exact() -> Result<()> {
    let (cgroup, folder) = (ScratchCgroup::create("tracer-fexit")?, tempfile::tempdir()?);
    let path = cgroup.path().to_string_lossy().into_owned();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_exact = is_exact()?;
    let recorder = Recorder::start(folder.path(), &["--cgroup", &name, "--attach", "auto"])?;
    if is_exact {
        let is_gone = || Ok((!has_sys_exit(recorder.pid())).then_some(()));
        wait_until("sys_exit to be detached", is_gone)?;
    }
    let mut child = recorder::start_in(&cgroup, &["sh", "-c", "echo counted; exec seq 1000"])?;
    let (stdout, stderr) = (Reader::of_stdout(&mut child)?, Reader::of_stderr(&mut child)?);
    child.wait()?;
    let written = stdout.finish()?.len();
    stderr.finish()?;
    // The name is that of a busybox in a virtual machine.
    let entries = || recorder::entries(folder.path(), &[]);
    let has_all = |entry: &serde_json::Value| entry["streams"][0]["bytes"] == written;
    let found = || Ok(entries()?.iter().any(has_all).then_some(()));
    wait_until("the entry", found).with_context(|| format!("{written} B: {:#?}", entries()))?;
    recorder.stop()
}

/// A reader that sleeps in `read` since before the attach, and reads again after `sys_exit` was detached.
#[test]
#[ignore = "needs root"]
fn a_read_that_sleeps_at_the_attach_is_counted_once() -> Result<()> {
    if !is_exact()? {
        return Ok(());
    }
    let (from, to) = pipe()?;
    let object = object_of(to.as_raw_fd()).context("the pipe is not in /proc")?;
    let mut command = Command::new("cat");
    command.stdin(from).stdout(Stdio::null());
    let mut cat = OwnedChild::spawn(&mut command, "cat")?;
    command = Command::new("sh");
    command.args(["-c", "read go; echo first; read go; echo second"]);
    command.stdin(Stdio::piped()).stdout(to);
    let mut writer = OwnedChild::spawn(&mut command, "sh")?;
    // It has the last write end beside the shell's own.
    drop(command);
    sleep(Duration::from_millis(300));
    let tracer = Tracer::on_pid(writer.pid()).args(["--attach", "fexit"]).start()?;
    sleep(Duration::from_secs(2));
    ensure!(has_sys_exit(tracer.pid()), "sys_exit is detached while cat sleeps in a read");
    writer.send(b"go\n")?;
    // `cat` and the shell are in new calls now.
    wait_until("sys_exit to be detached", || Ok((!has_sys_exit(tracer.pid())).then_some(())))?;
    writer.send(b"go\n")?;
    writer.wait()?;
    cat.wait()?;
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    let pipe = report.object(&object).context("the pipe is not in the report")?;
    let counted = (pipe.written, pipe.read, pipe.balanced);
    ensure!(counted == (Some(13), Some(13), Some(true)), "{counted:?}");
    Ok(())
}

/// A write that sleeps since before the attach, in a full pipe, and writes after `sys_exit` was detached.
#[test]
#[ignore = "needs root"]
fn a_write_that_sleeps_at_the_attach_is_counted_once() -> Result<()> {
    if !is_exact()? {
        return Ok(());
    }
    let mut writer = Command::new("sh");
    writer.args(["-c", "head -c 100000 /dev/zero; read go; echo second"]);
    writer.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut writer = OwnedChild::spawn(&mut writer, "sh")?;
    let stdout = writer.take_stdout()?;
    sleep(Duration::from_millis(500));
    let tracer = Tracer::on_pid(writer.pid()).args(["--attach", "fexit"]).start()?;
    let mut reader = Reader::spawn(stdout.into(), Pace::Held);
    reader.release();
    wait_until("sys_exit to be detached", || Ok((!has_sys_exit(tracer.pid())).then_some(())))?;
    writer.send(b"go\n")?;
    writer.wait()?;
    let received = reader.finish()?.len();
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    // What `head` wrote before it blocked in its last call is not counted.
    let last = report.bytes_of(writer.pid(), 1);
    ensure!(received == 100_007 && last == 7, "{last} of {received} bytes");
    Ok(())
}
