//! A command under tracer: its stdout stays its own, its exit code can be passed on, and a report is one screen.

use std::{
    fs, io,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::ioctl_fionread,
};
use tracer_tests::{
    deadline::{OwnedChild, wait_until},
    privilege::require_root,
    reader::{Pace, Reader},
    refusal::{USAGE, check, run, run_command},
    tracer::{binary, parse},
};

fn shell(line: &str) -> Result<Command> {
    require_root()?;
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).arg(binary()?);
    Ok(shell)
}

#[test]
#[ignore = "needs root"]
fn the_report_of_a_command_goes_to_stderr() -> Result<()> {
    require_root()?;
    // Lines about the trace come before the report.
    let lines = "\n{\"type\":\"report\"";
    for (format, has) in [("human", "✓ sh "), ("json", "{"), ("ndjson", lines)] {
        let output = run(&["-q", "--format", format, "--", "sh", "-c", "echo mine"])?;
        ensure!(output.stdout == b"mine\n", "{output:?}");
        let report = String::from_utf8(output.stderr)?;
        ensure!(report.starts_with(has) || has == lines && report.contains(has), "{report}");
    }
    let output = run(&["-q", "-o", "-", "--", "sh", "-c", "echo mine"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.starts_with("mine\n✓ sh ") && output.stderr.is_empty(), "{text}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_reader_that_ends_first_takes_no_report_away() -> Result<()> {
    let output = run_command(&mut shell("\"$0\" -q -- seq 1 100000 | head -n 2")?)?;
    ensure!(output.stdout == b"1\n2\n", "{output:?}");
    let report = String::from_utf8(output.stderr)?;
    ensure!(report.contains("\ntraced seq 1 100000 for "), "{report}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_exit_code_of_a_command_is_passed_on_if_asked_for() -> Result<()> {
    require_root()?;
    for (line, code) in [("echo x; exit 7", 7), ("echo x; kill -KILL $$", 137), ("exit 0", 0)] {
        let command = ["-q", "-o", "/dev/null", "--exit-code", "command", "--", "sh", "-c", line];
        let status = run(&command)?.status;
        ensure!(status.code() == Some(code), "{line}: {status}");
    }
    let status = run(&["-q", "-o", "/dev/null", "--", "sh", "-c", "echo x; exit 7"])?.status;
    ensure!(status.code() == Some(0), "{status}");
    // What is discarded did not arrive.
    let quiet = "exec \"$0\" -q -o /dev/null -- echo x >/dev/null";
    let status = run_command(&mut shell(quiet)?)?.status;
    ensure!(status.code() == Some(1), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn options_without_an_effect_are_refused() -> Result<()> {
    require_root()?;
    check(&run(&["--pid", "1", "--user", "nobody"])?, USAGE, &["--user", "-- COMMAND"])?;
    check(&run(&["--pid", "1", "--pty"])?, USAGE, &["--pty", "-- COMMAND"])?;
    let arguments = ["--container", "x", "--exit-code", "command"];
    check(&run(&arguments)?, USAGE, &["--exit-code", "-- COMMAND"])?;
    check(&run(&["ls", "-l"])?, USAGE, &["tracer -- ls -l"])?;
    check(&run(&["explain", "nonsense"])?, USAGE, &["nonsense", "tracer explain"])?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("session");
    fs::write(&path, "precious")?;
    let name = path.display().to_string();
    check(&run(&["--record", &name, "--", "true"])?, USAGE, &[&name, "exists"])?;
    ensure!(fs::read_to_string(&path)? == "precious", "the file was written to");
    Ok(())
}

/// A tree of two hundred commands, and each of them with a different name.
#[test]
#[ignore = "needs root"]
fn a_large_tree_is_one_screen_and_all_of_it_is_there_with_all() -> Result<()> {
    require_root()?;
    let folder = tempfile::tempdir()?;
    let session = folder.path().join("session").display().to_string();
    let line = "for i in $(seq 100); do (exec -a name$i sh -c \"echo $i | cat\"); done";
    let output = run(&["-q", "--record", &session, "--", "bash", "-c", line])?;
    let screen = String::from_utf8(output.stderr)?;
    ensure!(screen.lines().count() <= 40, "{screen}");
    ensure!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    ensure!(screen.contains("commands delivered everything"), "{screen}");
    let again = String::from_utf8(run(&["report", &session])?.stdout)?;
    ensure!(again == screen, "the recording has another report:\n{again}\n{screen}");
    let all = String::from_utf8(run(&["report", "--all", &session])?.stdout)?;
    ensure!(all.lines().count() > 300, "{all}");
    let some = String::from_utf8(run(&["report", "--grep", "echo 77 ", &session])?.stdout)?;
    let first = some.lines().next().context("no report")?;
    ensure!(
        screen.starts_with(first) && some.contains("echo 77 ") && !some.contains("echo 78 "),
        "{some}"
    );
    Ok(())
}

/// A program that shares the stream may have made it non-blocking (`node`, `ssh`).
#[test]
#[ignore = "needs root"]
fn a_report_to_a_non_blocking_stream_is_whole() -> Result<()> {
    require_root()?;
    for to in ["stdout", "stderr"] {
        let (reader, writer) = io::pipe()?;
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        let mut command = Command::new(binary()?);
        command.args(["-q", "--format", "json"]);
        // The shell, `seq`, and 200 more.
        let line = "for i in $(seq 200); do /bin/true; done";
        match to {
            "stdout" => command.args(["-o", "-"]).stdout(writer).stderr(Stdio::inherit()),
            _ => command.stdout(Stdio::null()).stderr(writer),
        };
        let mut tracer = OwnedChild::spawn(command.args(["--", "sh", "-c", line]), to)?;
        // The command has the writing end until it is dropped.
        drop(command);
        wait_until("a full pipe", || Ok((ioctl_fionread(&reader)? > 60_000).then_some(())))?;
        sleep(Duration::from_millis(200));
        let text = Reader::spawn(OwnedFd::from(reader), Pace::Free).finish()?.bytes;
        let status = tracer.wait()?;
        ensure!(status.success(), "{to}: {status}");
        let report = parse(&String::from_utf8(text)?).context(to)?;
        ensure!(report.processes.len() == 202, "{to}: {} processes", report.processes.len());
    }
    Ok(())
}
