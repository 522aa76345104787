//! Containers of Podman: from its API socket, if there is one, else from its state files.
//!
//! Podman has no daemon, so most machines have no socket. containers/storage has the names, and the run directory has
//! the pid that conmon wrote.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Candidate, Engine, Init, Survey, docker::user_sockets, engine_api, pod::PodOf};
use crate::{sys::bounded, target::Roots};

/// A container in containers/storage.
#[derive(Debug, Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// Lists the containers of Podman.
pub(super) fn survey(roots: &Roots) -> Survey {
    let mut sockets = vec![roots.run.join("podman/podman.sock")];
    sockets.extend(user_sockets(&roots.run, "podman/podman.sock"));
    let served = engine_api::survey(roots, Engine::Podman, &sockets);
    // The engine of a single user does not list root's containers, so the state files are read as well.
    let Some(stored) = read_storage(roots) else { return served };
    let mut candidates = served.candidates;
    for candidate in stored {
        if candidates.iter().all(|known| known.id != candidate.id) {
            candidates.push(candidate);
        }
    }
    Survey::listed(Engine::Podman, candidates)
}

/// The containers in the state files; `None` if Podman has no state.
fn read_storage(roots: &Roots) -> Option<Vec<Candidate>> {
    let kept = roots.var_lib.join("containers/storage");
    let running = roots.run.join("containers/storage");
    if !kept.is_dir() && !running.is_dir() {
        return None;
    }
    let mut stored = Vec::new();
    for driver in driver_directories(&kept) {
        stored.extend(read_list(&driver.join("containers.json")));
    }
    // Containers of `podman run --rm` are listed in a file that does not survive a restart.
    for driver in driver_directories(&running) {
        stored.extend(read_list(&driver.join("volatile-containers.json")));
    }
    let candidate = |Stored { id, names }: Stored| Candidate {
        engine: Engine::Podman,
        init: read_pid(&running, &id).map_or(Init::Search, Init::Written),
        id,
        pod: PodOf::by_names(&names),
        names,
        declared_cgroup: None,
        doubt: None,
    };
    Some(stored.into_iter().map(candidate).collect())
}

/// `overlay-containers`, `vfs-containers` and the like, one for each storage driver that is used.
pub(crate) fn driver_directories(storage: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(storage) else { return Vec::new() };
    let mut directories: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with("-containers"))
        .collect();
    directories.sort();
    directories
}

/// Reads a list. A missing or incomplete list is empty; the container may still be found by its id.
fn read_list(path: &Path) -> Vec<Stored> {
    bounded::whole(path)
        .ok()
        .and_then(|content| serde_json::from_slice(&content).ok())
        .unwrap_or_default()
}

fn read_pid(running: &Path, id: &str) -> Option<u32> {
    driver_directories(running).iter().find_map(|driver| {
        let file = driver.join(id).join("userdata/pidfile");
        bounded::text(file).ok()?.trim().parse().ok()
    })
}
