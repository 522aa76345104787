//! Commands that hang before tracer attaches: what they wait for, and which process is the cause.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::{
    deadline::{OwnedChild, wait_until},
    procfs::{is_blocked_in, is_blocked_in_write},
    report::Report,
    tracer::Tracer,
};

/// After this long without a read, a reader is not at work.
const A_WHILE: Duration = Duration::from_millis(800);

/// Runs a Python program that prints the pid of a process, and traces that process for a while, once it is ready.
fn trace(program: &str, is_ready: impl Fn(u32) -> bool) -> Result<(u32, Report)> {
    let mut python = Command::new("python3");
    python.args(["-uc", program]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut python = OwnedChild::spawn(&mut python, "python3")?;
    let (mut line, mut stdout) = (String::new(), BufReader::new(python.take_stdout()?));
    stdout.read_line(&mut line)?;
    let pid = line.trim().parse().with_context(|| format!("no pid: {line:?}"))?;
    wait_until("the process to hang", || Ok(is_ready(pid).then_some(())))?;
    let tracer = Tracer::on_pid(pid).start()?;
    thread::sleep(A_WHILE);
    tracer.interrupt()?;
    Ok((pid, tracer.finish()?.report()?))
}

#[test]
#[ignore = "needs root"]
fn a_terminal_that_the_stop_key_pauses_is_no_fault_of_its_reader() -> Result<()> {
    let program = r#"
import os, pty
pid, master = pty.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", "while :; do echo tick; done"])
os.read(master, 10); os.write(master, b"\x13"); print(pid)
while os.read(master, 1000): pass"#;
    let (pid, report) = trace(program, |pid| is_blocked_in_write(pid, 1))?;
    let finding = report.headline("stuck")?.about(pid)?;
    ensure!(finding.message.contains("as by the stop key (^S); python3 (pid "), "{finding:?}");
    ensure!(finding.confidence == "certain", "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_connection_that_its_other_end_does_not_read_makes_its_writer_hang() -> Result<()> {
    let program = r#"
import socket, subprocess, time
server = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(server.getsockname()); far, _ = server.accept()
print(subprocess.Popen(["seq", "1", "9000000"], stdout=near).pid)
time.sleep(60)"#;
    let (pid, report) = trace(program, |pid| is_blocked_in_write(pid, 1))?;
    let finding = report.headline("stuck")?.about(pid)?;
    ensure!(
        finding.message.contains("its other end, on this machine, reads nothing"),
        "{finding:?}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn of_a_reader_that_waits_to_write_itself_the_reason_is_told() -> Result<()> {
    let program = r#"
import subprocess, time
first = subprocess.Popen(["seq", "1", "900000"], stdout=subprocess.PIPE)
relay = subprocess.Popen(["cat"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close(); print(first.pid)
time.sleep(60)"#;
    let (pid, report) = trace(program, |pid| is_blocked_in_write(pid, 1))?;
    let finding = report.headline("stuck")?.about(pid)?.expect("reader_comm", "cat")?;
    let waits = finding.fact("reader_waits_on")?.as_str().unwrap_or_default();
    ensure!(waits.starts_with("pipe:["), "{finding:?}");
    ensure!(finding.message.contains("it is itself blocked writing to pipe:["), "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn an_idle_command_waits_for_its_stdin_or_for_a_lock() -> Result<()> {
    let program = r#"
import subprocess, time
print(subprocess.Popen(["cat"], stdin=subprocess.PIPE).pid)
time.sleep(60)"#;
    let (pid, report) = trace(program, |pid| is_blocked_in(pid, libc::SYS_read, 0))?;
    let finding = report.headline("never_wrote")?.about(pid)?;
    ensure!(finding.message.contains(": it waits to read its stdin, pipe:["), "{finding:?}");
    let program = r#"
import fcntl, subprocess, tempfile, time
file = tempfile.NamedTemporaryFile(); fcntl.flock(file, fcntl.LOCK_EX)
print(subprocess.Popen(["flock", file.name, "echo"]).pid)
time.sleep(60)"#;
    let (pid, report) = trace(program, |pid| is_blocked_in(pid, libc::SYS_flock, 3))?;
    let finding = report.headline("never_wrote")?.about(pid)?;
    ensure!(finding.message.contains(": it waits for a lock on /"), "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_manager_that_waits_for_what_an_orphan_holds_open_names_it() -> Result<()> {
    let program = r#"
import os, subprocess
print(os.getpid())
subprocess.run(["sh", "-c", "echo result; sleep 20 & exit 0"], stdout=subprocess.PIPE)"#;
    let (pid, report) = trace(program, |pid| is_blocked_in(pid, libc::SYS_read, 3))?;
    let finding = report.headline("never_wrote")?.about(pid)?;
    ensure!(finding.message.contains(", whose write end sleep (pid "), "{finding:?}");
    Ok(())
}
