//! Docker with gVisor as its runtime: what runs in the sandbox is a part of the trace, and inside and outside are one
//! story.
//!
//! Needs a running `dockerd` that has the runtimes `runsc` and `runsc-without-cgroup`, and in `TRACER_TEST_IMAGE` an image
//! in a registry on this machine.

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;
use tracer_tests::{
    deadline::{patient, wait_until},
    docker::{Container, docker, image},
    expect,
    report::{Exit, Process, Report},
    tracer::{Tracer, check_status, parse},
};

const RUNTIMES: [&str; 2] = ["--runtime=runsc", "--runtime=runsc-without-cgroup"];

/// Traces a docker client.
fn trace(arguments: &[&str]) -> Result<Report> {
    let file = NamedTempFile::new()?;
    let tracer = Tracer::default().arg("-o").arg(file.path()).args(["--", "docker"]);
    let outcome =
        tracer.args(arguments).launch()?.finish_within(patient(Duration::from_secs(60)))?;
    eprintln!("tracer printed: {}", outcome.stderr);
    check_status(outcome.status)?;
    parse(&fs::read_to_string(file.path())?)
}

/// Traces `docker run` of a shell's line in a sandbox. A program that ends at once may be older than tracer's session in the
/// sandbox, so each line begins with a pause.
fn run(runtime: &str, line: &str) -> Result<Report> {
    let line = format!("sleep 1; {line}");
    trace(&["run", "--rm", runtime, "--network", "none", &image()?, "sh", "-c", &line])
}

/// A container in a sandbox, which sleeps.
fn start(runtime: &str) -> Result<Container> {
    let container = Container::named("gvisor");
    let options = ["run", "--detach", runtime, "--network", "none", "--name", container.name()];
    docker(&[&options[..], &[&image()?, "sleep", "600"]].concat())?;
    Ok(container)
}

/// The first process of the container.
fn first(report: &Report) -> Result<&Process> {
    let found = report.processes.iter().find(|process| process.sandbox == 1 && process.pid == 1);
    found.with_context(|| format!("no guest: {:#?}", report.processes))
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn output_of_a_container_in_gvisor_is_followed_to_docker() -> Result<()> {
    for runtime in RUNTIMES {
        let report = run(runtime, "echo out; echo error >&2; exit 4").context(runtime)?;
        expect::no_losses(&report)?;
        report.has_no_finding("out_of_sight")?;
        let exit = first(&report)?.exit.context("it runs")?;
        ensure!(exit == Exit { code: Some(4), signal: None }, "{runtime}: {exit:?}");
        let guests = report.processes.iter().filter(|process| process.sandbox == 1);
        let rows: Vec<_> = guests.flat_map(|process| &process.fds).collect();
        let written: u64 = rows.iter().map(|row| row.bytes).sum();
        ensure!(written == 4 + 6, "{runtime}: {rows:#?}");
        // The shim reads what the sandbox writes, and gives it to dockerd.
        let is_outside = rows.iter().all(|row| row.bytes == 0 || row.object.starts_with("pipe:"));
        ensure!(is_outside, "{runtime}: {rows:#?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn a_loss_inside_gvisor_is_told_with_its_culprit() -> Result<()> {
    for runtime in RUNTIMES {
        let report = run(runtime, "seq 1 100 | sleep 1").context(runtime)?;
        let finding = report.headline("unread").context(runtime)?;
        for said in ["292 B are lost", "in gVisor", "ended with its read end open"] {
            ensure!(finding.message.contains(said), "{runtime}: {said}: {}", finding.message);
        }
        ensure!(finding.confidence == "certain", "{runtime}: {finding:?}");
    }
    Ok(())
}

/// The sentence about a command that docker started in a running sandbox.
fn says_what_was_executed(report: &Report, runtime: &str) -> Result<()> {
    expect::no_losses(report).context(runtime.to_owned())?;
    report.has_no_finding("out_of_sight")?;
    let guests = report
        .findings
        .iter()
        .find(|finding| finding.rule == "delivered" && finding.message.contains("in gVisor"));
    let said = &guests.with_context(|| format!("{runtime}: {:#?}", report.findings))?.message;
    for part in ["145 B to stdout", "6 B to stderr", "all read by containerd-shim", "exited with 3"]
    {
        ensure!(said.contains(part), "{runtime}: {part}: {said}");
    }
    Ok(())
}

/// Writes 4 + 141 bytes to stdout and 6 to stderr.
const LINE: &str = "echo out; echo error >&2; seq 1 50; exit 3";

#[test]
#[ignore = "needs root, docker and runsc"]
fn a_command_in_a_traced_sandbox_is_seen() -> Result<()> {
    for runtime in RUNTIMES {
        let container = start(runtime)?;
        let tracer = Tracer::on_container(container.name()).start()?;
        let folder = format!("/run/tracer/gvisor-{}", tracer.pid());
        wait_until("tracer looks inside", || Ok(fs::exists(&folder)?.then_some(())))?;
        sleep(patient(Duration::from_secs(2)));
        // It fails with the command.
        ensure!(docker(&["exec", container.name(), "sh", "-c", LINE]).is_err(), "{runtime}");
        tracer.interrupt()?;
        says_what_was_executed(&tracer.finish()?.report()?, runtime)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn docker_exec_as_the_command_is_followed_into_its_sandbox() -> Result<()> {
    for runtime in RUNTIMES {
        let container = start(runtime)?;
        let line = format!("sleep 1; {LINE}");
        let report = trace(&["exec", container.name(), "sh", "-c", &line]).context(runtime)?;
        says_what_was_executed(&report, runtime)?;
    }
    Ok(())
}
