//! Writer and order of captured bytes: threads, two streams, process trees, and writes that are not the
//! target's output.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    capture::{Capture, capture},
    content,
    deadline::OwnedChild,
    expect,
    gate::Gate,
    paths::Identity,
    program::Program,
    reader::Reader,
    refusal::run_command,
    tracer::{Tracer, binary},
    workload::Workload,
};

/// The index has the lines of both streams in the order in which the program wrote them.
#[test]
#[ignore = "needs root"]
fn stdout_and_stderr_are_interleaved_as_written() -> Result<()> {
    let captured = capture(&Workload::new("interleaved"))?.context("skipped")?;
    captured.check()?;
    let order = content::bytes(0, 0, 3000);
    let mut writes = captured.capture.writes(|_| true);
    for (number, byte) in order.iter().enumerate() {
        let (stream, bytes) = writes.next().with_context(|| format!("line {number} is missing"))?;
        let expected = (i32::from(byte % 2) + 1, format!("line {number}\n").into_bytes());
        ensure!((stream.fd, bytes) == (expected.0, &expected.1[..]), "line {number}: {bytes:?}");
    }
    ensure!(writes.next().is_none(), "more than was written");
    Ok(())
}

/// As with `2>&1`: one object and two streams, whose bytes together are those of the reader.
#[test]
#[ignore = "needs root"]
fn two_streams_of_one_pipe_together_have_the_read_bytes() -> Result<()> {
    for name in ["interleaved", "text", "cut-characters"] {
        let captured = capture(&Workload::new(name).on_one_object())?.context("skipped")?;
        captured.check()?;
        let fds: BTreeSet<_> = captured.capture.streams.values().map(|stream| stream.fd).collect();
        ensure!(fds == BTreeSet::from([1, 2]), "{fds:?}");
    }
    Ok(())
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The lines of each thread are in order, no line is split, and no byte is missing.
#[test]
#[ignore = "needs root"]
fn two_threads_that_write_at_the_same_time() -> Result<()> {
    let captured = capture(&Workload::new("two-threads").arg("1"))?.context("skipped")?;
    captured.check_in_any_order()?;
    let stream = captured.stream(1)?;
    for name in [&b"left "[..], b"right "] {
        let own = |bytes| -> Vec<_> {
            lines(bytes).into_iter().filter(|line| line.starts_with(name)).collect()
        };
        let (captured, received) = (own(&stream.bytes), own(captured.received()?));
        ensure!(captured == received && captured.len() == 5000, "{} lines", captured.len());
    }
    let mut torn = captured.capture.writes(|_| true).filter(|(_, bytes)| lines(bytes).len() != 1);
    ensure!(torn.next().is_none(), "a write is not one line");
    Ok(())
}

/// Parent and child have separate files.
#[test]
#[ignore = "needs root"]
fn a_forked_child_has_a_file_of_its_own() -> Result<()> {
    let workload = Workload::new("write").arg(Identity::Fork.word());
    let captured = capture(&workload)?.context("skipped")?;
    captured.check()?;
    let pids: BTreeSet<_> = captured.capture.streams.values().map(|stream| stream.pid).collect();
    ensure!(pids.len() == 2 && captured.capture.streams.len() == 3, "{pids:?}");
    Ok(())
}

/// A process that execs keeps its identity: one file, with its first name.
#[test]
#[ignore = "needs root"]
fn a_process_keeps_its_file_after_an_exec() -> Result<()> {
    let line = "echo one; exec printf 'two\\n'";
    let captured = Program::new(&["sh", "-c", line]).capture()?;
    captured.check()?;
    let stream = captured.capture.stream(captured.pid, 1)?;
    ensure!((&*stream.bytes, &*stream.comm) == (b"one\ntwo\n", "sh"), "{stream:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn descendants_of_a_target_are_captured() -> Result<()> {
    let line = "echo parent; /bin/echo child; sh -c 'echo grandchild >&2'; echo end";
    let captured = Program::new(&["sh", "-c", line]).capture()?;
    captured.check()?;
    ensure!(captured.received[0] == b"parent\nchild\nend\n", "{captured:?}");
    ensure!(captured.received[1] == b"grandchild\n", "{captured:?}");
    let names: Vec<_> = captured.capture.streams.values().map(|stream| &*stream.comm).collect();
    ensure!(names == ["sh", "echo", "sh"], "{names:?}");
    expect::no_losses(&captured.report)
}

#[test]
#[ignore = "needs root"]
fn three_hundred_processes_have_three_hundred_files() -> Result<()> {
    let line = "i=0; while [ $i -lt 300 ]; do /bin/echo number $i; i=$((i+1)); done";
    let captured = Program::new(&["sh", "-c", line]).capture()?;
    captured.check()?;
    ensure!(captured.capture.streams.len() == 300, "{} files", captured.capture.streams.len());
    Ok(())
}

/// Tracer writes its report to the stdout of its command, which is not output of the command.
#[test]
#[ignore = "needs root"]
fn tracers_own_writes_to_a_shared_stdout_are_not_captured() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let mut command = Command::new(binary()?);
    command.args(["-o", "-", "--show", "--capture"]).arg(&directory);
    let output = run_command(command.args(["--", "sh", "-c", "echo hello; cat /none/such"]))?;
    let report = String::from_utf8(output.stdout)?;
    ensure!(report.starts_with("hello\n") && report.contains("captured in "), "{report}");
    let capture = Capture::load(&directory)?;
    let written = capture.replay(|_| true);
    ensure!(written.starts_with(b"hello\ncat: ") && lines(&written).len() == 2, "{capture:?}");
    for stream in capture.streams.values() {
        stream.is_complete()?;
    }
    Ok(())
}

/// Other processes write to a log file that the target has as stdout.
#[test]
#[ignore = "needs root"]
fn writes_of_other_processes_to_the_targets_log_are_not_captured() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let (directory, log) = (parent.path().join("out"), parent.path().join("log"));
    let target = "echo first; read go < \"$0\"; echo last";
    let mut gate = Gate::create()?;
    let mut command = Command::new("sh");
    command.args(["-c", target]).arg(gate.path()).stdout(fs::File::create(&log)?);
    let start = |tracer: Tracer| tracer.arg("--capture").arg(&directory).start();
    let mut child = OwnedChild::spawn(&mut command, "sh")?;
    let tracer = start(Tracer::on_pid(child.pid()))?;
    fs::OpenOptions::new().append(true).open(&log)?.write_all(b"of another process\n")?;
    gate.open()?;
    child.wait()?;
    tracer.finish()?;
    let captured = Capture::load(&directory)?.replay(|_| true);
    ensure!(captured.ends_with(b"last\n"), "{}", String::from_utf8_lossy(&captured));
    let has_other = String::from_utf8_lossy(&captured).contains("another process");
    ensure!(!has_other, "a write of another process was captured");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn writes_to_the_targets_stdin_are_not_captured() -> Result<()> {
    const SECRET: &str = "the operator's answer";
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let mut gate = Gate::create()?;
    let mut command = gate.command(["wc", "-c"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = OwnedChild::spawn(&mut command, "wc")?;
    let mut stdin = child.take_stdin()?;
    let reader = Reader::of_stdout(&mut child)?;
    let tracer = Tracer::on_pid(child.pid()).arg("--capture").arg(&directory).start()?;
    gate.open()?;
    for _ in 0..1000 {
        stdin.write_all(SECRET.as_bytes())?;
    }
    drop(stdin);
    child.wait()?;
    let received = reader.finish()?;
    let report = tracer.finish()?.report()?;
    let capture = Capture::load(&directory)?;
    capture.check_report(&report)?;
    ensure!(received.bytes == format!("{}\n", SECRET.len() * 1000).as_bytes(), "{received:?}");
    ensure!(capture.stream(child.pid(), 1)?.bytes == received.bytes, "{capture:?}");
    ensure!(capture.streams.len() == 1, "{capture:?}");
    for entry in fs::read_dir(&directory)? {
        let bytes = fs::read(entry?.path())?;
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        ensure!(!found, "the target's input is in the folder");
    }
    Ok(())
}
