//! Containers of Docker, from the engine's API.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Candidate, Engine, Init, Survey, best_of,
    engine_api::{self, EngineApi},
    membership::locate,
};
use crate::target::{CgroupTarget, Roots, TargetError};

/// How long an engine may take to name a log: the report waits for it.
const PATIENCE: Duration = Duration::from_millis(400);

/// Lists the containers of every Docker engine whose socket is on this machine.
pub(super) fn survey(roots: &Roots) -> Survey {
    engine_api::survey(roots, Engine::Docker, &sockets(roots))
}

/// A container that a docker client names.
#[derive(Debug)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) id: String,
    /// Its name, or the beginning of its id.
    pub(crate) label: String,
    /// The engine that knows it.
    pub(crate) engine: EngineApi,
    /// Its cgroup, if it runs.
    pub(crate) cgroup: Result<CgroupTarget, TargetError>,
    /// Why it may not be the container that is meant: root's engine does not list it.
    pub(crate) doubt: Option<String>,
}

/// Finds the container that a client of Docker means by a name.
pub(crate) fn find(roots: &Roots, name: &str) -> Result<Named, TargetError> {
    let candidate = meant(name, survey(roots))?;
    let Init::Ask(engine) = candidate.init.clone() else {
        return Err(TargetError::ContainerNotFound { name: name.to_owned(), asked: Vec::new() });
    };
    let label = candidate.as_match().label().to_owned();
    let cgroup = locate(roots, &candidate);
    Ok(Named { id: candidate.id, label, engine, cgroup, doubt: candidate.doubt })
}

/// The container that a name means: one of root's engine, else one of another user's. Any user can serve a socket, and list
/// any name and id there.
pub(super) fn meant(name: &str, survey: Survey) -> Result<Candidate, TargetError> {
    let Survey { answer, candidates } = survey;
    let (believed, doubted): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.doubt.is_none());
    let mut fitting = best_of(name, believed, doubted);
    if fitting.len() > 1 {
        let candidates = fitting.iter().map(Candidate::as_match).collect();
        return Err(TargetError::ContainerAmbiguous { name: name.to_owned(), candidates });
    }
    let not_found =
        || TargetError::ContainerNotFound { name: name.to_owned(), asked: vec![answer] };
    fitting.pop().ok_or_else(not_found)
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
