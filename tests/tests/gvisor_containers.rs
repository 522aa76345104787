//! Sandboxes with several containers, restored sandboxes, and terminals inside.

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;
use tracer_tests::{
    deadline::{patient, wait_until},
    gvisor::{DO, Pod},
    report::{Finding, Report},
    tracer::{Tracer, check_status, parse},
};

/// Traces a pod in which a second container runs a shell's line. Its stdout is a pipe to `reader`, its stderr a file.
fn second_container(line: &str, reader: &str) -> Result<Report> {
    let pod = Pod::start("sleep 60")?;
    let tracer = Tracer::on_pid(pod.kernel()?).start()?;
    pod.wait_for_list()?;
    let mut reader = pod.add("second", line, reader)?;
    pod.wait_for_end("second")?;
    reader.wait()?;
    tracer.interrupt()?;
    tracer.finish()?.report()
}

/// The first sentence of a rule about a guest.
fn about_guest<'a>(report: &'a Report, rule: &str) -> Result<&'a str> {
    let is_it = |finding: &&Finding| finding.rule == rule && finding.message.contains("in gVisor");
    let found = report.findings.iter().find(is_it);
    found.map(|finding| &*finding.message).with_context(|| format!("{:#?}", report.findings))
}

#[test]
#[ignore = "needs root and runsc"]
fn a_pods_second_container_has_streams_of_its_own() -> Result<()> {
    let report = second_container("echo out; echo error >&2; exit 5", "cat >/dev/null")?;
    let said = about_guest(&report, "delivered")?;
    for part in ["4 B to stdout, all read by cat", "6 B to stderr, into the file", "exited with 5"]
    {
        ensure!(said.contains(part), "{part}: {said}");
    }
    report.has_no_finding("own_losses")
}

/// gVisor's kernel passes one write of a guest on in several calls.
#[test]
#[ignore = "needs root and runsc"]
fn output_larger_than_a_pipe_is_joined() -> Result<()> {
    let report = second_container("head -c 300000 /dev/zero", "sleep 0.5; cat >/dev/null")?;
    let said = about_guest(&report, "delivered")?;
    ensure!(said.contains("300,000 B to stdout, all read by cat"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn equal_lines_on_both_streams_are_told_apart() -> Result<()> {
    // Other lengths than those of gVisor's own messages.
    let line = "echo one line of many >&2; echo and another line";
    let report = second_container(line, "cat >/dev/null")?;
    let said = about_guest(&report, "delivered")?;
    for part in ["17 B to stdout, all read by cat", "17 B to stderr, into the file"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn a_restored_sandbox_is_seen_with_what_it_writes_from_then_on() -> Result<()> {
    let pod = Pod::start("while :; do echo tick; sleep 0.1; done")?;
    let tracer = Tracer::on_pid(pod.kernel()?).start()?;
    pod.wait_for_list()?;
    pod.checkpoint()?;
    // The sandbox ends with its checkpoint.
    let report = tracer.finish()?.report()?;
    about_guest(&report, "delivered")?;
    let file = NamedTempFile::new()?;
    let tracer = Tracer::default().arg("-o").arg(file.path()).arg("--").args(pod.restore());
    let tracer = tracer.launch()?;
    wait_until("the restored sandbox", || Ok((pod.sessions().unwrap_or(0) == 1).then_some(())))?;
    sleep(patient(Duration::from_secs(1)));
    pod.kill()?;
    let outcome = tracer.finish()?;
    check_status(outcome.status).context(outcome.stderr)?;
    let report = parse(&fs::read_to_string(file.path())?)?;
    report.has_no_finding("out_of_sight")?;
    let shell = report.processes.iter().find(|process| process.sandbox == 1 && process.pid == 1);
    let rows = &shell.context("no guest")?.fds;
    let outside = rows.iter().filter(|row| row.object.starts_with("pipe:"));
    let written: u64 = outside.map(|row| row.bytes).sum();
    let shown = outcome.stdout.len() as u64;
    ensure!(written == shown && shown >= 5, "{shown} B were shown: {rows:#?}");
    Ok(())
}

/// A sandbox that a traced command starts, and not tracer: it gets a trace session when it is met.
#[test]
#[ignore = "needs root and runsc"]
fn a_sandbox_that_starts_below_a_traced_command_is_seen() -> Result<()> {
    let file = NamedTempFile::new()?;
    let line = format!("{} sh -c 'sleep 2; seq 1 100 | sleep 1'; echo done", DO.join(" "));
    let tracer = Tracer::default().arg("-o").arg(file.path()).args(["--", "sh", "-c", &line]);
    let outcome = tracer.launch()?.finish_within(patient(Duration::from_secs(60)))?;
    check_status(outcome.status).context(outcome.stderr)?;
    let report = parse(&fs::read_to_string(file.path())?)?;
    let finding = report.headline("unread")?;
    for said in ["seq 1 100", "in gVisor", "292 B are lost"] {
        ensure!(finding.message.contains(said), "{said}: {}", finding.message);
    }
    report.has_no_finding("out_of_sight")
}

/// Traces a command in a new sandbox.
fn inside(command: [&str; 3]) -> Result<Report> {
    let file = NamedTempFile::new()?;
    let tracer = Tracer::default().arg("-o").arg(file.path()).arg("--").args(DO);
    let outcome = tracer.args(command).launch()?.finish_within(patient(Duration::from_secs(60)))?;
    check_status(outcome.status).context(outcome.stderr)?;
    parse(&fs::read_to_string(file.path())?)
}

#[test]
#[ignore = "needs root and runsc"]
fn a_terminal_inside_that_is_closed_with_output_in_it_is_a_loss() -> Result<()> {
    // The first terminal is another one.
    let program = "import os, pty, time\nos.openpty()\npid, master = pty.fork()\nif pid == 0:\n \
         os.write(1, b'x' * 3000); time.sleep(0.5); os._exit(0)\ntime.sleep(0.2)\nos.read(master, 1000)\nos.close(master)\n\
         time.sleep(0.5)";
    let report = inside(["/usr/bin/python3", "-c", program])?;
    let finding = report.headline("unread")?;
    for said in ["wrote 3,000 B", "at least 2,000 B are lost, unread in /dev/pts/1"] {
        ensure!(finding.message.contains(said), "{said}: {}", finding.message);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and runsc"]
fn a_terminal_inside_that_is_read_to_its_end_is_none() -> Result<()> {
    let report = inside(["script", "-qc", "echo one; echo two >&2"])?;
    report.has_no_finding("unread")?;
    let said = about_guest(&report, "delivered")?;
    ensure!(said.contains("8 B to stdout, to the terminal /dev/pts/0, which script"), "{said}");
    Ok(())
}
