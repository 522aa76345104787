//! containerd's tasks: `NAMESPACE/ID/config.json`, the OCI configuration, which is there before the runtime starts. Those
//! of Kubernetes and of nerdctl have names in its annotations; Docker's have the folder with Docker's own file.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{super::container::task_directories, Written, read};
use crate::target::{
    Roots,
    container::{Engine, containerd::subdirectories},
};

/// How many namespaces of one containerd are looked at.
const MOST_NAMESPACES: usize = 256;
/// Docker's namespace.
const MOBY: &str = "moby";

/// The used part of an OCI runtime configuration.
#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    annotations: HashMap<String, String>,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Debug, Deserialize)]
struct Mount {
    #[serde(default)]
    destination: PathBuf,
    #[serde(default)]
    source: PathBuf,
}

/// What containerd's clients have written down about a container, of `namespace` or of any.
pub(super) fn written(roots: &Roots, namespace: Option<&str>, id: &str) -> Option<Written> {
    let is_sought = |name: &str| namespace.is_none_or(|namespace| namespace == name);
    let (namespace, Configuration { annotations, .. }) = task(roots, id, is_sought)?;
    // containerd, `pkg/cri/annotations`.
    let cri = |what: &str| annotations.get(&format!("io.kubernetes.cri.{what}")).cloned();
    Some(Written {
        engine: Some(if namespace == MOBY { Engine::Docker } else { Engine::Containerd }),
        name: annotations.get("nerdctl/name").cloned().or_else(|| cri("container-name")),
        image: cri("image-name"),
        namespace: cri("sandbox-namespace"),
        pod: cri("sandbox-name"),
    })
}

/// The folder in which Docker keeps what it knows of a container: it mounts the container's `/etc/hostname` from there.
pub(super) fn folder_of_moby(roots: &Roots, id: &str) -> Option<PathBuf> {
    let (_, configuration) = task(roots, id, |namespace| namespace == MOBY)?;
    let mut mounts = configuration.mounts.into_iter();
    let hostname = mounts.find(|mount| mount.destination == Path::new("/etc/hostname"))?;
    let folder = hostname.source.parent()?;
    let is_its = folder.is_absolute() && folder.ends_with(Path::new("containers").join(id));
    is_its.then(|| folder.to_owned())
}

/// A running task and its namespace.
fn task(
    roots: &Roots,
    id: &str,
    is_sought: impl Fn(&str) -> bool,
) -> Option<(String, Configuration)> {
    let namespaces = |tasks: PathBuf| subdirectories(&tasks).into_iter().take(MOST_NAMESPACES);
    task_directories(roots).flat_map(namespaces).find_map(|namespace| {
        let name = namespace.file_name()?.to_str().filter(|name| is_sought(name))?;
        Some((name.to_owned(), read(roots, &namespace.join(id).join("config.json"))?))
    })
}
