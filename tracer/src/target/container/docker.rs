//! Containers of Docker, from the engine's API.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Engine, Survey, engine_api};
use crate::target::Roots;

/// Lists the containers of every Docker engine whose socket is on this machine.
pub(super) fn survey(roots: &Roots) -> Survey {
    match roots.docker_host.as_deref() {
        Some(host) => match host.strip_prefix("unix://") {
            Some(socket) => engine_api::survey(Engine::Docker, &[PathBuf::from(socket)]),
            // A remote engine's containers run on another machine. The engines of this machine may have the
            // container.
            None => engine_api::survey(Engine::Docker, &local_sockets(roots)),
        },
        None => engine_api::survey(Engine::Docker, &local_sockets(roots)),
    }
}

fn local_sockets(roots: &Roots) -> Vec<PathBuf> {
    let mut sockets = vec![roots.run.join("docker.sock")];
    sockets.extend(user_sockets(&roots.run, "docker.sock"));
    sockets
}

/// Sockets of engines of single users, such as `/run/user/1000/docker.sock`.
pub(super) fn user_sockets(run: &Path, socket: &str) -> Vec<PathBuf> {
    let Ok(users) = fs::read_dir(run.join("user")) else { return Vec::new() };
    let mut sockets: Vec<PathBuf> = users
        .flatten()
        .map(|user| user.path().join(socket))
        .filter(|socket| socket.exists())
        .collect();
    sockets.sort();
    sockets
}
