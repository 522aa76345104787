//! Containers of containerd, from the state directories of its runtime.
//!
//! Each running task has a directory `NAMESPACE/ID` with its OCI configuration and the pid of its first process.
//! containerd itself knows no names; nerdctl and the Kubernetes plug-in put names into the configuration's
//! annotations. Docker's containers are here as well, in the namespace `moby`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    Answer, Candidate, Engine, Init, Survey,
    pod::{PodName, PodOf},
};
use crate::{sys::bounded, target::Roots};

/// Directories with containerd's state: its own, below k3s and RKE2, below k0s, and below a Docker that starts its own
/// containerd.
pub(crate) const STATE_DIRECTORIES: [&str; 4] =
    ["containerd", "k3s/containerd", "k0s/containerd", "docker/containerd/daemon"];

/// The directory with the running tasks, below one of [`STATE_DIRECTORIES`].
pub(crate) const TASKS: &str = "io.containerd.runtime.v2.task";

/// The used part of an OCI runtime configuration.
#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    annotations: HashMap<String, String>,
    #[serde(default)]
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<String>,
}

/// Lists the tasks of every containerd on this machine, in all its namespaces.
pub(super) fn survey(roots: &Roots) -> Survey {
    let states: Vec<PathBuf> =
        STATE_DIRECTORIES.iter().map(|state| roots.run.join(state).join(TASKS)).collect();
    if !states.iter().any(|state| state.is_dir()) {
        let looked_at = states.into_iter().next().unwrap_or_default();
        return Survey::empty(Engine::Containerd, Answer::Absent { looked_at });
    }
    let candidates = states
        .iter()
        .flat_map(|state| subdirectories(state))
        .flat_map(|namespace| subdirectories(&namespace))
        .filter_map(|task| read_task(&task))
        .collect();
    Survey::listed(Engine::Containerd, candidates)
}

fn read_task(task: &Path) -> Option<Candidate> {
    let id = task.file_name()?.to_str()?.to_owned();
    let configuration: Configuration = bounded::whole(task.join("config.json"))
        .ok()
        .and_then(|content| serde_json::from_slice(&content).ok())
        .unwrap_or_default();
    let pid = bounded::text(task.join("init.pid")).ok();
    let pid = pid.and_then(|pid| pid.trim().parse().ok());
    Some(Candidate {
        engine: Engine::Containerd,
        id,
        names: name_in(&configuration.annotations).into_iter().collect(),
        pod: pod_in(&configuration.annotations),
        init: pid.map_or(Init::Search, Init::Written),
        // systemd's form is `SLICE:PREFIX:ID`. Such a container is found by the id in the scope's name.
        declared_cgroup: configuration.linux.cgroups_path.filter(|path| path.starts_with('/')),
        doubt: None,
    })
}

fn name_in(annotations: &HashMap<String, String>) -> Option<String> {
    if let Some(name) = annotations.get("nerdctl/name") {
        return Some(name.clone());
    }
    let container = annotations.get("io.kubernetes.cri.container-name")?;
    let of_pod = ["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name"];
    let mut path: Vec<&str> =
        of_pod.iter().filter_map(|key| annotations.get(*key)).map(String::as_str).collect();
    path.push(container);
    Some(path.join("/"))
}

/// Both the containers of a pod and its sandbox have these annotations (containerd, `pkg/cri/annotations`).
fn pod_in(annotations: &HashMap<String, String>) -> Option<PodOf> {
    let of_sandbox = |what: &str| annotations.get(&format!("io.kubernetes.cri.sandbox-{what}"));
    let pod =
        PodName { namespace: of_sandbox("namespace")?.clone(), name: of_sandbox("name")?.clone() };
    Some(PodOf { pod, uid: of_sandbox("uid").cloned() })
}

pub(crate) fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut directories: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    directories.sort();
    directories
}
