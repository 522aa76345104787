//! Docker commands under a process manager: tracer counts what the manager received.
//!
//! Needs a running `dockerd` and, in `TRACER_TEST_IMAGE`, an image in a registry on this machine.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use tracer_tests::{
    deadline::describe,
    docker::{Container, Managed, docker, image, remove_image, trace_managed},
    expect, refusal,
    tracer::{Tracer, parse},
};

/// Checks the bytes in the manager's pipes and those of the command's own fds.
fn exact(managed: Managed) -> Result<Managed> {
    managed.check()?;
    managed.check_single_writer()?;
    Ok(managed)
}

#[test]
#[ignore = "needs root and docker"]
fn pull_is_counted_to_the_byte() -> Result<()> {
    let image = image()?;
    remove_image(&image)?;
    let pull = exact(trace_managed(&["docker", "pull", &image], &[])?)?;
    ensure!(pull.account.code == Some(0), "{:?}", pull.account);
    ensure!(pull.account.stdout.bytes > 0 && pull.account.stderr.bytes == 0);
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn quiet_pull_is_counted_to_the_byte() -> Result<()> {
    let image = image()?;
    remove_image(&image)?;
    let pull = exact(trace_managed(&["docker", "pull", "-q", &image], &[])?)?;
    // The name and a newline.
    ensure!(pull.account.stdout.bytes == image.len() as u64 + 1, "{:?}", pull.account);
    Ok(())
}

/// Nothing on stdout, a message on stderr, and an exit code for failure.
#[test]
#[ignore = "needs root and docker"]
fn pull_with_an_unknown_flag_writes_to_stderr_only() -> Result<()> {
    let image = image()?;
    let pull = exact(trace_managed(&["docker", "pull", "--progress=plain", &image], &[])?)?;
    ensure!(pull.account.code == Some(125), "{:?}", pull.account);
    ensure!(pull.account.stdout.bytes == 0 && pull.account.stderr.bytes > 0);
    ensure!(pull.account.stderr.text.contains("unknown flag"), "{:?}", pull.account);
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn classic_build_is_counted_to_the_byte_on_both_streams() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let dockerfile = format!("FROM {}\nENV TRACED=yes\nCMD [\"/bin/true\"]\n", image()?);
    fs::write(directory.path().join("Dockerfile"), dockerfile)?;
    let path = directory.path().display().to_string();
    let argv = ["docker", "build", "--no-cache", "--force-rm", &path];
    let build = trace_managed(&argv, &[("DOCKER_BUILDKIT", "0")])?;
    build.check()?;
    ensure!(build.account.code == Some(0), "{:?}", build.account);
    ensure!(build.account.stdout.bytes > 0, "{:?}", build.account);
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn run_is_counted_to_the_byte_on_both_streams() -> Result<()> {
    let image = image()?;
    let script = "seq 1 3000; echo trouble >&2; exit 3";
    let argv = ["docker", "run", "--rm", &image, "sh", "-c", script];
    let run = exact(trace_managed(&argv, &[])?)?;
    ensure!(run.account.code == Some(3), "{:?}", run.account);
    ensure!(run.account.stdout.bytes == 13_893 && run.account.stderr.bytes == 8);
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_client_without_a_daemon_writes_to_stderr_only() -> Result<()> {
    let host = [("DOCKER_HOST", "unix:///tmp/nope.sock")];
    let list = exact(trace_managed(&["docker", "ps"], &host)?)?;
    ensure!(list.account.code == Some(1), "{:?}", list.account);
    ensure!(list.account.stdout.bytes == 0 && list.account.stderr.bytes > 0);
    Ok(())
}

/// Runs a shell line in the container; returns the bytes that the client received on each stream.
fn exec(container: &Container, script: &str) -> Result<[u64; 2]> {
    let mut exec = Command::new("docker");
    exec.args(["exec", container.name(), "sh", "-c", script]);
    let output = refusal::run_command(&mut exec)?;
    ensure!(output.status.success(), "docker exec: {}", describe(output.status));
    Ok([output.stdout.len() as u64, output.stderr.len() as u64])
}

/// The client's process and those that it has the engine start are targets of one trace, which ends with the client.
#[test]
#[ignore = "needs root and docker"]
fn a_client_is_traced_together_with_several_containers() -> Result<()> {
    let image = image()?;
    let [web, database] = [Container::start(&image, "web")?, Container::start(&image, "db")?];
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report");
    let client = ["docker", "exec", web.name(), "seq", "1", "5000"];
    let tracer = Tracer::on_container(web.name())
        .args(["--container", database.name(), "-o"])
        .arg(&file)
        .arg("--")
        .args(["sh", "-c", "docker exec \"$0\" seq 1 100 >/dev/null; exec \"$@\"", database.name()])
        .args(client)
        .launch()?;
    let outcome = tracer.finish()?;
    ensure!(outcome.stdout.len() == 23_893, "the client printed {} bytes", outcome.stdout.len());
    let report = parse(&fs::read_to_string(&file)?)?;
    expect::no_losses(&report)?;
    for (comm, bytes) in [("docker", 23_893), ("seq", 23_893), ("seq", 292)] {
        let wrote = report.rows().any(|(pid, row)| {
            let is_named = report.of_pid(pid).any(|process| process.comm == comm);
            is_named && row.bytes == bytes
        });
        ensure!(wrote, "no {comm} wrote {bytes} bytes: {:#?}", report.processes);
    }
    Ok(())
}

/// `docker exec` starts processes that are not descendants of the container's first process.
#[test]
#[ignore = "needs root and docker"]
fn a_container_target_counts_processes_of_docker_exec() -> Result<()> {
    let container = Container::start(&image()?, "exec")?;
    let tracer = Tracer::on_container(container.name()).start()?;
    let mut received = [0, 0];
    // Not `echo … >&2`, for which a shell makes fd 1 the stderr and writes to fd 1.
    for script in ["seq 1 5000", "cat /none; echo one", "(echo a; cat /nowhere) & wait; seq 9"] {
        let [stdout, stderr] = exec(&container, script)?;
        received[0] += stdout;
        received[1] += stderr;
    }
    ensure!(received[0] > 20_000 && received[1] > 20, "the client received {received:?}");
    docker(&["rm", "--force", container.name()])?;
    let report = tracer.finish()?.report()?;
    let sum = |fd| -> u64 {
        report.rows().filter(|(_, row)| row.fd == Some(fd)).map(|(_, row)| row.bytes).sum()
    };
    let reported = [sum(1), sum(2)];
    ensure!(reported == received, "the client received {received:?}, reported is {reported:?}");
    expect::no_losses(&report)
}
