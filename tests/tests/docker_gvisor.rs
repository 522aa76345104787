//! Docker with gVisor as its runtime: what runs in the sandbox is a part of the trace, and inside and outside are one
//! story.
//!
//! Needs a running `dockerd` that has the runtime `runsc` and, in `TRACER_TEST_IMAGE`, an image in a registry on this
//! machine.

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

/// Options of `docker run` for a sandbox without a network.
const IN_GVISOR: [&str; 3] = ["--runtime=runsc", "--network", "none"];

/// Traces `docker run` of a shell's line in a sandbox. The program is older than tracer's session in it if it writes at
/// once, so each line begins with a pause.
fn run(line: &str) -> Result<Report> {
    let (image, file) = (image()?, NamedTempFile::new()?);
    let tracer = Tracer::default().arg("-o").arg(file.path()).args(["--", "docker", "run", "--rm"]);
    let line = format!("sleep 1; {line}");
    let tracer = tracer.args(IN_GVISOR).args([&image, "sh", "-c", &line]);
    let outcome = tracer.launch()?.finish_within(patient(Duration::from_secs(60)))?;
    check_status(outcome.status).context(outcome.stderr)?;
    parse(&fs::read_to_string(file.path())?)
}

/// The first process of the container.
fn first(report: &Report) -> Result<&Process> {
    let found = report.processes.iter().find(|process| process.sandbox == 1 && process.pid == 1);
    found.with_context(|| format!("no guest: {:#?}", report.processes))
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn output_of_a_container_in_gvisor_is_followed_to_docker() -> Result<()> {
    let report = run("echo out; echo error >&2; exit 4")?;
    expect::no_losses(&report)?;
    report.has_no_finding("out_of_sight")?;
    let shell = first(&report)?;
    let exit = shell.exit.context("it runs")?;
    ensure!(exit == Exit { code: Some(4), signal: None }, "{exit:?}");
    let guests = report.processes.iter().filter(|process| process.sandbox == 1);
    let written: u64 = guests.flat_map(|process| &process.fds).map(|row| row.bytes).sum();
    ensure!(written == 4 + 6, "guests wrote {written} B");
    // The shim reads what the sandbox writes, and gives it to dockerd.
    let chain = report.chain(1, 1)?;
    let writers = chain.writers();
    let names: Vec<&str> = writers.iter().map(|step| step.comm.as_str()).collect();
    ensure!(names.iter().any(|name| name.starts_with("containerd-shim")), "{names:?}");
    Ok(())
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn a_loss_inside_gvisor_is_told_with_its_culprit() -> Result<()> {
    let report = run("seq 1 100 | sleep 1")?;
    let finding = report.headline("unread")?;
    for said in ["seq 1 100", "292 B", "sleep"] {
        ensure!(finding.message.contains(said), "{said}: {}", finding.message);
    }
    ensure!(finding.confidence == "certain", "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn a_command_that_docker_starts_in_a_running_sandbox_is_seen() -> Result<()> {
    let (image, container) = (image()?, Container::named("gvisor"));
    let name = container.name();
    let start = [&["run", "--detach", "--name", name], &IN_GVISOR[..], &[&image, "sleep", "600"]];
    docker(&start.concat())?;
    let tracer = Tracer::default().args(["--container", name]).start()?;
    let folder = format!("/run/tracer/gvisor-{}", tracer.pid());
    wait_until("tracer looks inside", || Ok(fs::exists(&folder)?.then_some(())))?;
    sleep(patient(Duration::from_secs(2)));
    let said = docker(&["exec", name, "sh", "-c", "echo out; echo error >&2; seq 1 50"])?;
    ensure!(said.starts_with("out\n1\n"), "{said:?}");
    tracer.interrupt()?;
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    let finding = report.finding("delivered")?;
    for said in ["in gVisor", "to stdout", "6 B to stderr", "containerd-shim"] {
        ensure!(finding.message.contains(said), "{said}: {}", finding.message);
    }
    Ok(())
}
