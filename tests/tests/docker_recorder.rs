//! The always-on recorder and docker: a container that is gone is known by its name.
//!
//! Needs a running `dockerd` and in `TRACER_TEST_IMAGE` an image in a registry on this machine; the tests about gVisor need
//! its runtime `runsc`.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    deadline::{patient, wait_until},
    docker::{Container, docker, image},
    recorder::{Recorder, entries, why},
};

/// The entries of a container, once there are this many.
fn of_container(folder: &TempDir, name: &str, number: usize) -> Result<Vec<Value>> {
    let found = wait_until("the container's entries", || {
        let found = entries(folder.path(), &["--container", name])?;
        Ok((found.len() >= number).then_some(found))
    });
    found.with_context(|| format!("there are {:#?}", entries(folder.path(), &[])))
}

#[test]
#[ignore = "needs root and docker"]
fn a_container_that_is_gone_is_known_by_its_name() -> Result<()> {
    let (folder, image) = (TempDir::new()?, image()?);
    let recorder = Recorder::start(folder.path(), &["--containers"])?;
    let container = Container::named("recorded");
    let run = ["run", "--rm", "--network", "none", "--name", container.name(), &image];
    let line = "echo out; echo error >&2; seq 1 2000 | sleep 0.2; exit 0";
    docker(&[&run[..], &["sh", "-c", line]].concat())?;
    let found = of_container(&folder, container.name(), 1)?;
    ensure!(found.len() == 1, "{found:#?}");
    let entry = &found[0];
    ensure!(entry["place"]["container"] == container.name(), "{entry:#}");
    ensure!(entry["place"]["engine"] == "docker", "{entry:#}");
    // `>&2` of the shell itself is another part of its stdout.
    let streams = entry["streams"].as_array().context("no streams")?;
    let bytes: u64 = streams.iter().filter_map(|stream| stream["bytes"].as_u64()).sum();
    ensure!(bytes == 4 + 6, "{entry:#}");
    // The loss inside the pipeline is the first sentence.
    ensure!(entry["rule"] == "unread" && entry["has_loss"] == true, "{entry:#}");
    recorder.stop()?;
    let answer = why(folder.path(), &["--container", container.name()])?;
    ensure!(answer.status.code() == Some(1), "{answer:?}");
    let said = String::from_utf8_lossy(&answer.stdout);
    for part in ["8,893 B", "sleep", container.name()] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_command_of_docker_exec_is_an_entry_of_the_container() -> Result<()> {
    let (folder, image) = (TempDir::new()?, image()?);
    let container = Container::start(&image, "recorded-exec")?;
    let recorder = Recorder::start(folder.path(), &["--containers"])?;
    docker(&["exec", container.name(), "seq", "100"])?;
    let found = of_container(&folder, container.name(), 1)?;
    let entry = found.iter().find(|entry| entry["name"] == "seq").context("no seq")?;
    ensure!(entry["streams"][0]["bytes"] == 292 && entry["rule"] == "delivered", "{entry:#}");
    recorder.stop()
}

/// Runs a shell's line in a gVisor sandbox with a cgroup. A program that ends at once may be older than the recorder's
/// session in the sandbox, so the line begins with a pause.
fn run_in_gvisor(name: &str, line: &str) -> Result<Container> {
    let (container, line) = (Container::named(name), format!("sleep 1; {line}"));
    let run = ["run", "--rm", "--runtime=runsc", "--network", "none", "--name", container.name()];
    docker(&[&run[..], &[&image()?, "sh", "-c", &line]].concat())?;
    Ok(container)
}

/// What `tracer why` says about a container, with this exit code.
fn said_about(folder: &TempDir, container: &Container, code: i32) -> Result<String> {
    let answer = why(folder.path(), &["--container", container.name()])?;
    ensure!(answer.status.code() == Some(code), "{answer:?}");
    let text = String::from_utf8_lossy(&answer.stdout);
    // As if it were on a line of any length.
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn what_happened_inside_gvisor_is_told_afterwards() -> Result<()> {
    let folder = TempDir::new()?;
    let recorder = Recorder::start(folder.path(), &["--containers"])?;
    let good = run_in_gvisor("inside", "echo out; echo error >&2; seq 1 50")?;
    let lossy = run_in_gvisor("inside-lossy", "seq 1 100 | sleep 1")?;
    for container in [&good, &lossy] {
        // gVisor's own programs are no commands.
        let found = of_container(&folder, container.name(), 1)?;
        ensure!(found.len() == 1 && found[0]["name"] == "sh", "{found:#?}");
    }
    recorder.stop()?;
    ensure!(entries(folder.path(), &[])?.len() == 2, "{:#?}", entries(folder.path(), &[])?);
    let said = said_about(&folder, &good, 0)?;
    for part in ["in gVisor) wrote 145 B to stdout, all read by containerd-shim", "6 B to stderr"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    let said = said_about(&folder, &lossy, 1)?;
    for part in ["292 B are lost, unread in pipe:[", "ended with its read end open", "[unread]"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root, docker and runsc"]
fn a_command_of_docker_exec_in_gvisor_is_an_entry_of_the_container() -> Result<()> {
    let folder = TempDir::new()?;
    let container = Container::named("inside-exec");
    let recorder = Recorder::start(folder.path(), &["--containers"])?;
    let run = ["run", "--detach", "--runtime=runsc", "--network", "none", "--name"];
    docker(&[&run[..], &[container.name(), &image()?, "sleep", "600"]].concat())?;
    sleep(patient(Duration::from_secs(2)));
    docker(&[
        "exec",
        container.name(),
        "sh",
        "-c",
        "echo out; echo error >&2; seq 1 50; sleep 1; exit 0",
    ])?;
    let found = of_container(&folder, container.name(), 1)?;
    let entry = found.iter().find(|entry| entry["name"] == "sh");
    let entry = entry.with_context(|| format!("no sh: {found:#?}"))?;
    let bytes = entry["streams"].as_array().context("no streams")?;
    let bytes: u64 = bytes.iter().filter_map(|stream| stream["bytes"].as_u64()).sum();
    // The recorder does not count what gVisor's kernel writes to every fd, so the pipes outside are not known.
    ensure!(bytes == 145 + 6 && entry["rule"] == "out_of_sight", "{entry:#}");
    recorder.stop()
}
