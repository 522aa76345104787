//! Docker's containers: `containers/ID/config.v2.json` in the folder with Docker's data, which is there before the
//! container starts.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Written, containerd, read};
use crate::target::{Roots, container::Engine};

/// The used part of a container's configuration (`container.Container` of moby).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    /// With a `/` before it.
    #[serde(default)]
    name: String,
    #[serde(default)]
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: Option<String>,
    labels: Option<HashMap<String, String>>,
}

/// The used part of the daemon's configuration (`dockerd(8)`).
#[derive(Debug, Default, Deserialize)]
struct Daemon {
    #[serde(rename = "data-root")]
    data_root: Option<PathBuf>,
    /// Its name before Docker 17.05.
    graph: Option<PathBuf>,
}

/// What Docker has written down about a container.
pub(super) fn written(roots: &Roots, id: &str) -> Option<Written> {
    let mut folders = folders(roots).into_iter().map(|data| data.join("containers").join(id));
    let of = |folder: PathBuf| read::<Container>(roots, &folder.join("config.v2.json"));
    // The daemon may have been told another place on its command line.
    let elsewhere = || of(containerd::folder_of_moby(roots, id)?);
    let Container { name, config } = folders.find_map(of).or_else(elsewhere)?;
    let name = name.strip_prefix('/').unwrap_or(&name).to_owned();
    let full_name = name.clone();
    let written = Written {
        engine: Some(Engine::Docker),
        name: Some(name),
        image: config.image,
        ..Written::default()
    };
    Some(written.with_kubelets(&config.labels.unwrap_or_default(), Some(&full_name)))
}

/// Folders with Docker's data: the usual one, and the one in the daemon's configuration.
fn folders(roots: &Roots) -> Vec<PathBuf> {
    let daemon: Daemon = read(roots, &roots.etc.join("docker/daemon.json")).unwrap_or_default();
    let configured = [daemon.data_root, daemon.graph].into_iter().flatten();
    [roots.var_lib.join("docker")]
        .into_iter()
        .chain(configured.filter(|folder| Path::is_absolute(folder)))
        .collect()
}
