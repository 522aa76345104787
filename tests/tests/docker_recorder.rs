//! The always-on recorder and docker: a container that is gone is known by its name.
//!
//! Needs a running `dockerd` and in `TRACER_TEST_IMAGE` an image in a registry on this machine.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    deadline::wait_until,
    docker::{Container, docker, image},
    recorder::{Recorder, entries, why},
};

/// The entries of a container, once there are so many.
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
