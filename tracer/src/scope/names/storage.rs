//! Containers of Podman and CRI-O, which keep them with containers/storage: `DRIVER-containers/ID/userdata/config.json`
//! is the OCI configuration, in which CRI-O puts names, and `DRIVER-containers/containers.json` lists all containers with
//! the names that Podman gives.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Written, read, read_up_to};
use crate::target::{
    Roots,
    container::{Engine, podman::driver_directories},
};

/// The largest list of containers, in bytes: some two thousand for each container.
const LARGEST_LIST: usize = 16 << 20;
/// The files with lists. Containers of `podman run --rm` are in the second.
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// The used part of an OCI runtime configuration.
#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// A container in a list.
#[derive(Debug, Default, Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON.
    #[serde(default)]
    metadata: String,
}

/// What Podman writes about a container for itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Metadata {
    image_name: Option<String>,
    name: Option<String>,
}

/// What Podman or CRI-O has written down about a container.
pub(super) fn written(roots: &Roots, id: &str) -> Option<Written> {
    let storages = [&roots.run, &roots.var_lib].map(|root| root.join("containers/storage"));
    let drivers: Vec<_> = storages.iter().flat_map(|storage| driver_directories(storage)).collect();
    let mut configurations = drivers.iter().filter_map(|driver| {
        read::<Configuration>(roots, &driver.join(id).join("userdata/config.json"))
    });
    let annotations = configurations.next().map(|configuration| configuration.annotations);
    // CRI-O, `pkg/annotations`.
    let crio = |what: &str| annotations.as_ref()?.get(&format!("io.kubernetes.cri-o.{what}"));
    if let Some(annotations) = &annotations
        && crio("SandboxID").is_some()
    {
        let written = Written {
            engine: Some(Engine::Crio),
            image: crio("ImageName").or_else(|| crio("Image")).cloned(),
            ..Written::default()
        };
        let full_name = crio("Name").or_else(|| crio("ContainerName"));
        return Some(written.with_kubelets(annotations, full_name.map(String::as_str)));
    }
    let lists = drivers.iter().flat_map(|driver| LISTS.map(|list| driver.join(list)));
    let listed = { lists }.find_map(|list| {
        let listed: Vec<Listed> = read_up_to(roots, &list, LARGEST_LIST)?;
        listed.into_iter().find(|listed| listed.id == id)
    });
    (annotations.is_some() || listed.is_some()).then(|| of_podman(listed.unwrap_or_default()))
}

fn of_podman(listed: Listed) -> Written {
    let metadata: Metadata = serde_json::from_str(&listed.metadata).unwrap_or_default();
    Written {
        engine: Some(Engine::Podman),
        name: listed.names.into_iter().next().or(metadata.name),
        image: metadata.image_name,
        ..Written::default()
    }
}
