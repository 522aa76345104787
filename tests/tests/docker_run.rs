//! `docker run` as the command of a trace: its container is a target from its first instruction on.
//!
//! Needs a running `dockerd` and, in `TRACER_TEST_IMAGE`, an image in a registry on this machine.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::NamedTempFile;
use tracer_tests::{
    deadline::wait_until,
    docker::{Container, Traced, docker, image, trace, written},
    expect,
    report::{Exit, Process, Report},
    tracer::{Tracer, parse},
};

/// Traces `docker run --rm` of a shell's line, with these options of docker.
fn run(options: &[&str], line: &str) -> Result<Traced> {
    let image = image()?;
    let arguments = [&["run", "--rm"], options, &[&image, "sh", "-c", line]].concat();
    trace(&[], &arguments)
}

/// The first process of the container: the shell.
fn first(report: &Report) -> Result<&Process> {
    let found = report.processes.iter().find(|process| {
        process.ns_pid == Some(1) && process.argv.first().is_some_and(|name| name == "sh")
    });
    found.with_context(|| format!("no first process: {:#?}", report.processes))
}

/// Removes a cgroup and those below it, in every hierarchy. Docker leaves the parents of its cgroups behind.
fn remove_cgroup(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)?.flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        for path in [hierarchy.join(name).join("parent"), hierarchy.join(name)] {
            if path.is_dir() {
                fs::remove_dir(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn the_container_of_a_client_is_seen_from_its_first_instruction() -> Result<()> {
    for _ in 0..5 {
        let Traced { stdout, stderr, report } = run(&[], "echo hi; echo err >&2; exit 3")?;
        ensure!(stdout == "hi\n" && stderr.contains("\nerr"), "{stdout:?} {stderr:?}");
        expect::no_losses(&report)?;
        let shell = first(&report)?;
        ensure!(written(shell) == 7, "{shell:#?}");
        report.check_exit(shell.pid, Exit { code: Some(3), signal: None })?;
        let client = report.processes.iter().find(|process| process.comm == "docker");
        let client = client.context("no client")?;
        ensure!((report.bytes_of(client.pid, 1), report.bytes_of(client.pid, 2)) == (3, 4));
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_loss_in_the_container_is_named() -> Result<()> {
    let Traced { report, .. } = run(&[], "seq 1 1000 | sleep 0.3")?;
    expect::loss_of_seq(&report)
}

/// The client ends at once; the trace ends with the container.
#[test]
#[ignore = "needs root and docker"]
fn a_detached_container_is_traced_to_its_end() -> Result<()> {
    let Traced { report, stdout, .. } = run(&["--detach"], "sleep 1; echo late; exit 4")?;
    expect::no_losses(&report)?;
    ensure!(stdout.len() == 65, "the client prints the id: {stdout:?}");
    let shell = first(&report)?;
    ensure!(written(shell) == 5, "{shell:#?}");
    report.check_exit(shell.pid, Exit { code: Some(4), signal: None })
}

#[test]
#[ignore = "needs root and docker"]
fn the_users_own_file_for_the_id_is_used() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cid");
    let option = format!("--cidfile={}", file.display());
    let report = run(&[&option], "echo hi")?.report;
    expect::no_losses(&report)?;
    ensure!(written(first(&report)?) == 3);
    ensure!(fs::read_to_string(&file)?.len() == 64);
    // Docker refuses a file that exists. The container in it is another one.
    let refused = run(&[&option], "echo hi")?;
    ensure!(refused.stderr.contains("container ID file found"), "{}", refused.stderr);
    ensure!(first(&refused.report).is_err());
    expect::no_losses(&refused.report)
}

#[test]
#[ignore = "needs root and docker"]
fn a_container_below_another_cgroup_is_found() -> Result<()> {
    let traced = run(&["--cgroup-parent", "/tracer-tests/parent"], "echo hi");
    remove_cgroup("tracer-tests")?;
    let report = traced?.report;
    expect::no_losses(&report)?;
    ensure!(written(first(&report)?) == 3);
    Ok(())
}

/// What does not start is no container that was missed.
#[test]
#[ignore = "needs root and docker"]
fn a_container_that_does_not_start_is_not_missed() -> Result<()> {
    let image = image()?;
    let traced = trace(&[], &["run", "--rm", &image, "no-such-program"])?;
    ensure!(traced.stderr.contains("no-such-program"), "{}", traced.stderr);
    expect::no_losses(&traced.report)
}

#[test]
#[ignore = "needs root and docker"]
fn what_the_user_did_not_type_is_told_and_leaves_nothing_behind() -> Result<()> {
    let file = NamedTempFile::new()?;
    let name = Container::named("told");
    let image = image()?;
    let running = Tracer::default().arg("-o").arg(file.path()).args(["--", "docker", "run"]);
    let running = running.args(["--name", name.name(), &image, "sleep", "600"]).launch()?;
    let folder = format!("/run/tracer/docker-{}", running.pid());
    wait_until("the container runs", || {
        Ok(docker(&["inspect", "--format", "{{.State.Running}}", name.name()])
            .is_ok_and(|answer| answer == "true")
            .then_some(()))
    })?;
    ensure!(Path::new(&folder).is_dir(), "{folder}");
    running.interrupt()?;
    // The client has tracer's stdout.
    docker(&["rm", "--force", name.name()])?;
    let outcome = running.finish()?;
    ensure!(!Path::new(&folder).exists(), "{folder} is left");
    ensure!(outcome.stderr.contains("gives docker the option --cidfile="), "{}", outcome.stderr);
    let text = fs::read_to_string(file.path())?;
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let target = report["target"]["name"].as_str().context("no name")?;
    ensure!(target.starts_with("docker run --name"), "{target}");
    expect::no_losses(&parse(&text)?)
}

/// A tracer that is stopped finds the container when its program has written.
#[test]
#[ignore = "needs root and docker"]
fn a_container_that_is_found_late_is_told() -> Result<()> {
    let file = NamedTempFile::new()?;
    let name = Container::named("late");
    let image = image()?;
    let tracer = Tracer::default().arg("-o").arg(file.path()).args(["--", "docker", "run"]);
    let line = "echo early; sleep 3; echo late";
    let running = tracer.args(["--name", name.name(), &image, "sh", "-c", line]).start()?;
    // The client makes the file before it asks for a container.
    let id = format!("/run/tracer/docker-{}/cid", running.pid());
    wait_until("the client runs", || Ok(Path::new(&id).exists().then_some(())))?;
    running.signal(Signal::STOP)?;
    wait_until("the container has written", || {
        Ok(docker(&["logs", name.name()]).is_ok_and(|log| log == "early").then_some(()))
    })?;
    running.signal(Signal::CONT)?;
    let outcome = running.finish()?;
    ensure!(outcome.stdout == "early\nlate\n", "{:?}", outcome.stdout);
    let report = parse(&fs::read_to_string(file.path())?)?;
    let losses = report.losses();
    ensure!(losses.iter().any(|(name, _)| name == "container_missed"), "{losses:?}");
    let shell = first(&report)?;
    ensure!(shell.attached_late && written(shell) == 5, "{shell:#?}");
    ensure!(report.headline("own_losses")?.message.contains("container_missed"));
    Ok(())
}

/// A sandbox whose program runs for some time is always looked into.
#[test]
#[ignore = "needs root and docker"]
fn the_sandbox_of_a_client_is_looked_into() -> Result<()> {
    if !docker(&["info", "--format", "{{json .Runtimes}}"])?.contains("\"runsc\"") {
        eprintln!("not tried: this dockerd has no runtime runsc");
        return Ok(());
    }
    let report =
        run(&["--runtime=runsc"], "sleep 1; echo hi; seq 1 1000 | sleep 0.3; exit 3")?.report;
    expect::no_losses(&report)?;
    report.has_no_finding("out_of_sight")?;
    let shell = first(&report)?;
    ensure!(shell.sandbox > 0, "{shell:#?}");
    report.check_exit(shell.pid, Exit { code: Some(3), signal: None })?;
    let lost = report.finding("unread")?;
    ensure!(lost.message.contains("3,893"), "{lost:#?}");
    Ok(())
}

/// Long enough that a slow machine would notice a trace that waits for what never comes.
const SOON: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root and docker"]
fn a_client_that_creates_nothing_ends_the_trace() -> Result<()> {
    let began = std::time::Instant::now();
    let traced = trace(&[], &["run", "--rm", "--pull=never", "tracer/no-such-image"])?;
    expect::no_losses(&traced.report)?;
    ensure!(began.elapsed() < SOON, "{:?}", began.elapsed());
    Ok(())
}
