//! The always-on recorder and Kubernetes: pods of a real containerd, made as the kubelet makes them, are known by their
//! names when they are gone.
//!
//! Needs containerd, runc and a static busybox.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    cri::{Containerd, IMAGE, NamespaceOption, OF_MACHINE, Pod, manifest},
    deadline::wait_until,
    recorder::{self, Recorder, entries, why},
    refusal,
    tracer::binary,
};

/// Loses 8,893 of the 8,893 B that `seq` writes, after a line on each stream.
const LOSSY: &str = "echo out; echo error >&2; seq 1 2000 | sleep 0.2; exit 0";

/// Containers that live for a moment.
const MOMENTS: usize = 6;

/// The entries of a pod, once there are this many.
fn of_pod(folder: &TempDir, pod: &Pod<'_>, number: usize) -> Result<Vec<Value>> {
    let found = wait_until("the pod's entries", || {
        let found = entries(folder.path(), &["--pod", &pod.name()])?;
        Ok((found.len() >= number).then_some(found))
    });
    found.with_context(|| format!("there are {:#?}", entries(folder.path(), &[])))
}

/// The bytes of all streams of an entry.
fn bytes(entry: &Value) -> u64 {
    let streams = entry["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    streams.iter().filter_map(|stream| stream["bytes"].as_u64()).sum()
}

#[test]
#[ignore = "needs root and containerd"]
fn a_pod_that_is_gone_is_known_by_its_names() -> Result<()> {
    let folder = TempDir::new()?;
    let containerd = Containerd::start()?;
    let recorder = Recorder::start(folder.path(), &["--containers"])?;
    let pod = containerd.pod("shop", "web-0")?;
    let container = pod.start("web", LOSSY)?;
    ensure!(container.wait()? == 0);
    let found = of_pod(&folder, &pod, 1)?;
    ensure!(found.len() == 1, "{found:#?}");
    let (entry, place) = (&found[0], &found[0]["place"]);
    for (key, value) in [
        ("engine", "containerd"),
        ("container", "web"),
        ("container_id", container.id()),
        ("image", IMAGE),
        ("namespace", "shop"),
        ("pod", "web-0"),
    ] {
        ensure!(place[key] == value, "{key}: {place:#}");
    }
    ensure!(bytes(entry) == 4 + 6, "{entry:#}");
    ensure!(entry["rule"] == "unread" && entry["has_loss"] == true, "{entry:#}");
    // The kubelet's log has what the shim read.
    let log = pod.log("web")?;
    ensure!(log.contains(" out") && log.contains(" error"), "{log}");
    let name = pod.name();
    drop(pod);
    recorder.stop()?;
    for question in [["--pod", &name], ["--container", "web"]] {
        let answer = why(folder.path(), &question)?;
        ensure!(answer.status.code() == Some(1), "{answer:?}");
        let said = String::from_utf8_lossy(&answer.stdout);
        for part in ["8,893 B", "sleep", "web-0"] {
            ensure!(said.contains(part), "{part}: {said}");
        }
    }
    Ok(())
}

/// The program of such a container ends within milliseconds, and containerd removes what it has written down about it.
#[test]
#[ignore = "needs root and containerd"]
fn a_container_that_lives_for_a_moment_is_known_by_its_names() -> Result<()> {
    let folder = TempDir::new()?;
    let containerd = Containerd::start()?;
    let recorder = Recorder::start(folder.path(), &["--containers"])?;
    let pod = containerd.pod("batch", "moments")?;
    // A container of containerd's own client has no name, which must not keep others from theirs.
    let nameless = format!("nameless-{}", std::process::id());
    let ctr =
        |arguments: &[&str]| containerd.ctr(&[&["--namespace", "k8s.io"], arguments].concat());
    ctr(&["run", "--detach", "--snapshotter", "native", IMAGE, &nameless])?;
    let names: Vec<String> = (0..MOMENTS).map(|number| format!("moment-{number}")).collect();
    for name in &names {
        pod.run(name, "seq 1 50", 0)?;
    }
    ctr(&["tasks", "delete", "--force", &nameless])?;
    // As `kubectl exec` does.
    let executed = pod.start("side", "sleep 600")?.exec(&["seq", "100"])?;
    ensure!(executed.exit_code == 0 && executed.stdout.len() == 292, "{executed:?}");
    let found = of_pod(&folder, &pod, names.len() + 1)?;
    let of_exec = found.iter().find(|entry| entry["name"] == "seq").context("no seq")?;
    ensure!(of_exec["place"]["container"] == "side" && bytes(of_exec) == 292, "{of_exec:#}");
    for name in &names {
        let mut entries = found.iter().filter(|entry| entry["place"]["container"] == *name);
        let entry = entries.next().with_context(|| format!("no {name}: {found:#?}"))?;
        ensure!(bytes(entry) == 141 && entry["rule"] == "delivered", "{entry:#}");
        ensure!(entry["place"]["image"] == IMAGE && entries.next().is_none(), "{entry:#}");
    }
    drop(pod);
    recorder.stop()?;
    // Beside these: the nameless container, and the one in which a command was executed. The pod's sandbox is none.
    let all = entries(folder.path(), &[])?;
    ensure!(all.len() == names.len() + 1 + 2, "{all:#?}");
    Ok(())
}

/// The chart's DaemonSet: its rights and mounts, and no others, suffice to record other pods and to ask for them.
#[test]
#[ignore = "needs root and containerd"]
fn the_pod_of_the_chart_records_other_pods_and_answers() -> Result<()> {
    let folder = TempDir::new()?;
    let containerd = Containerd::start()?;
    containerd.import_tracer()?;
    let namespaces = NamespaceOption { network: OF_MACHINE, pid: OF_MACHINE };
    let node = containerd.pod_with("tracer", "recorder", namespaces)?;
    let config = manifest::recorder(folder.path(), containerd.state())?;
    let recorder = node.start_container(config)?;
    wait_until("the recorder", || {
        let log = node.log("tracer").unwrap_or_default();
        ensure!(!log.contains("error"), "{log}");
        Ok(log.contains("tracer: records").then_some(()))
    })
    .with_context(|| node.log("tracer").unwrap_or_default())?;
    let pod = containerd.pod("shop", "web-0")?;
    pod.run("web", LOSSY, 0)?;
    let tracer = |arguments: &[&str]| {
        let executed = recorder.exec(&[&["/usr/bin/tracer"], arguments].concat())?;
        anyhow::Ok((executed.exit_code, String::from_utf8_lossy(&executed.stdout).into_owned()))
    };
    let said = wait_until("the answer", || {
        let (code, said) = tracer(&["why", "--pod", "shop/web-0"])?;
        Ok((code == 1).then_some(said))
    })
    .with_context(|| tracer(&["history"]).map(|(_, said)| said).unwrap_or_default())?;
    for part in ["8,893 B", "sleep", "shop/web-0"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    // On the node, root reads the same history.
    let history = manifest::history(folder.path());
    let found = entries(&history, &["--pod", "shop/web-0"])?;
    ensure!(found.len() == 1 && bytes(&found[0]) == 4 + 6, "{found:#?}");
    // It warns of nothing, so no right is missing.
    let log = node.log("tracer")?;
    ensure!(log.lines().count() == 1, "{log}");
    Ok(())
}

/// A pod has a cgroup namespace of its own where version 2 is used, in which other cgroups have relative paths.
#[test]
#[ignore = "needs root"]
fn cgroups_have_their_own_paths_for_a_recorder_in_another_namespace() -> Result<()> {
    let folder = TempDir::new()?;
    let (own, jobs) =
        (ScratchCgroup::create("tracer-node")?, ScratchCgroup::create("tracer-jobs")?);
    let below = jobs.path().join("below");
    fs::create_dir(&below)?;
    let mut command = Command::new("sh");
    let enter = "echo $$ > \"$1/cgroup.procs\" && shift && exec unshare --cgroup \"$@\"";
    command.args(["-c", enter, "sh"]).arg(own.path()).arg(binary()?);
    let recorder = Recorder::start_by(command, folder.path(), &["--cgroup", jobs.name()?])?;
    let mut shell = Command::new("sh");
    let line = "echo $$ > \"$0/cgroup.procs\"; exec sh -c 'seq 100; sleep 0.5; exit 0'";
    let output = refusal::run_command(shell.args(["-c", line]).arg(&below))?;
    ensure!(output.stdout.len() == 292, "{output:?}");
    let entry = recorder::entry(folder.path(), "sh")?;
    recorder.stop()?;
    fs::remove_dir(&below)?;
    let expected = format!("/{}/below", jobs.name()?);
    ensure!(entry["place"]["cgroup"] == expected && bytes(&entry) == 292, "{entry:#}");
    Ok(())
}
