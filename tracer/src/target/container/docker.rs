//! Containers of Docker, from the engine's API.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Engine, Survey,
    engine_api::{self, EngineApi},
};
use crate::target::Roots;

/// How long an engine may take to name a log: the report waits for it.
const PATIENCE: Duration = Duration::from_millis(400);

/// Lists the containers of every Docker engine whose socket is on this machine.
pub(super) fn survey(roots: &Roots) -> Survey {
    engine_api::survey(roots, Engine::Docker, &sockets(roots))
}

/// The log file of a container and the pid of the engine that names it, if that is root's engine. The pid is 1 if
/// systemd listens for the engine.
pub(crate) fn log_of(roots: &Roots, id: &str) -> Option<(PathBuf, u32)> {
    sockets(roots).into_iter().filter(|socket| socket.exists()).find_map(|socket| {
        let (log, peer) = EngineApi::at(socket.clone()).log_path(id, PATIENCE).ok()?;
        let is_believed = peer.doubt(roots, &socket).is_none();
        is_believed.then_some((log, peer.pid))
    })
}

fn sockets(roots: &Roots) -> Vec<PathBuf> {
    // A remote engine's containers run on another machine. The engines of this machine may have the container.
    if let Some(socket) = roots.docker_host.as_deref().and_then(|host| host.strip_prefix("unix://"))
    {
        return vec![PathBuf::from(socket)];
    }
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
