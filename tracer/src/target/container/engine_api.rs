//! The part of the Docker engine's HTTP API that Podman has as well: list containers, inspect one.
//!
//! <https://docs.docker.com/reference/api/engine/>

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use super::{Answer, Candidate, Engine, Init, Survey, pod::PodOf, proof::Peer};
use crate::{sys::unix_socket::connect_by, target::Roots};

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer of root's engine that is read, in bytes: some ten thousand containers.
const LONGEST_ANSWER: usize = 64 << 20;
/// The same of what another user serves: anyone can serve a socket and list any number of containers.
const LONGEST_ANSWER_OF_OTHERS: usize = 4 << 20;
/// How many containers of another user's engine are looked at.
const MOST_OF_OTHERS: usize = 10_000;

/// Why an engine gave no answer.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("nobody listens on {}: start the engine", .0.display())]
    Refused(PathBuf),
    #[error("{} may not be opened: run as root", .0.display())]
    Forbidden(PathBuf),
    #[error("{} did not answer within {} s: look whether the engine hangs", .0.display(), PATIENCE.as_secs())]
    Silent(PathBuf),
    #[error("{} cannot be talked to ({}): look whether the engine runs", .0.display(), .1)]
    Broken(PathBuf, io::Error),
    #[error("{} answered with more than is read: look what listens there", .0.display())]
    TooLong(PathBuf),
    #[error("{} is served by uid {} and lists {} containers, more than are looked at", .0.display(), .1, .2)]
    TooMany(PathBuf, u32, usize),
    #[error("{} answered what is no HTTP: look what listens there", .0.display())]
    NotHttp(PathBuf),
    #[error("{} answered with status {}", .0.display(), .1)]
    Status(PathBuf, u16),
    #[error("{} answered in a form this version does not know ({})", .0.display(), .1)]
    UnknownForm(PathBuf, serde_json::Error),
}

/// One engine's socket.
#[derive(Clone, Debug)]
pub(crate) struct EngineApi {
    socket: PathBuf,
}

/// An element of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    /// Each with a leading slash; null for a container that is being removed.
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// The used part of `GET /containers/ID/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: InitState,
    /// Empty if the log driver writes no file.
    #[serde(default)]
    log_path: PathBuf,
}

/// A container's state.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InitState {
    /// Pid of the first process; 0 if there is none.
    pub(crate) pid: u32,
    /// The engine's name for the state, such as `running` or `exited`.
    pub(crate) status: String,
}

/// The used part of an element of `GET /events`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Happened {
    /// Such as `start`, or `exec_start: ls -l`.
    pub(crate) action: String,
    #[serde(default)]
    actor: Actor,
}

/// What an event is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(default)]
    attributes: Attributes,
}

/// More about it.
#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(default, rename = "execID")]
    exec: Option<String>,
}

/// The used part of `GET /exec/ID/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecState {
    pid: u32,
    #[serde(default)]
    exit_code: Option<i32>,
}

/// Asks every socket that exists, and joins the answers. The first one has its time; the others, which any user can
/// serve, share the same time once more.
pub(super) fn survey(roots: &Roots, engine: Engine, sockets: &[PathBuf]) -> Survey {
    let mut candidates = Vec::new();
    let mut failure = None;
    let mut was_answered = false;
    let began = Instant::now();
    for (index, socket) in sockets.iter().enumerate().filter(|(_, socket)| socket.exists()) {
        let patience = match index {
            0 => PATIENCE,
            _ => (2 * PATIENCE).saturating_sub(began.elapsed()).min(PATIENCE),
        };
        match EngineApi::at(socket.clone()).list(roots, engine, patience) {
            Ok(listed) => {
                was_answered = true;
                candidates.extend(listed);
            }
            Err(error) => failure = Some(error.to_string()),
        }
    }
    match failure {
        _ if was_answered => Survey::listed(engine, candidates),
        Some(reason) => Survey::empty(engine, Answer::Failed(reason)),
        None => {
            let looked_at = sockets.first().cloned().unwrap_or_default();
            Survey::empty(engine, Answer::Absent { looked_at })
        }
    }
}

impl EngineApi {
    pub(super) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// All containers, running or not.
    fn list(
        &self,
        roots: &Roots,
        engine: Engine,
        patience: Duration,
    ) -> Result<Vec<Candidate>, ApiError> {
        let (listed, peer): (Vec<Listed>, _) = self.get("/containers/json?all=1", patience)?;
        if listed.len() > MOST_OF_OTHERS && !peer.is_as_mighty() {
            return Err(ApiError::TooMany(self.socket.clone(), peer.uid, listed.len()));
        }
        let doubt = peer.doubt(roots, &self.socket);
        let candidate = |Listed { id, names }: Listed| {
            let names: Vec<String> =
                names.unwrap_or_default().iter().filter_map(|name| own_name(name)).collect();
            Candidate {
                engine,
                id,
                pod: PodOf::by_names(&names),
                names,
                init: Init::Ask(self.clone()),
                declared_cgroup: None,
                doubt: doubt.clone(),
            }
        };
        Ok(listed.into_iter().map(candidate).collect())
    }

    /// State of a listed container, with the pid of its first process.
    pub(super) fn init_state(&self, id: &str) -> Result<InitState, ApiError> {
        let (Inspected { state, .. }, _) = self.get(&format!("/containers/{id}/json"), PATIENCE)?;
        Ok(state)
    }

    /// The log file of a container, and the process that serves the socket.
    pub(super) fn log_path(
        &self,
        id: &str,
        patience: Duration,
    ) -> Result<(PathBuf, Peer), ApiError> {
        let (inspected, peer): (Inspected, _) =
            self.get(&format!("/containers/{id}/json"), patience)?;
        Ok((inspected.log_path, peer))
    }

    /// The actions of this kind on a container between two times, in seconds since 1970.
    pub(crate) fn actions(
        &self,
        id: &str,
        kind: &str,
        between: [f64; 2],
        patience: Duration,
    ) -> Result<Vec<Happened>, ApiError> {
        // `{"container":["ID"],"event":["KIND"]}`, in the form of a URL.
        let filters =
            format!("%7B%22container%22%3A%5B%22{id}%22%5D%2C%22event%22%3A%5B%22{kind}%22%5D%7D");
        let [since, until] = between;
        let path = format!("/events?since={since:.9}&until={until:.9}&filters={filters}");
        let (answer, _) = self.ask(&path, patience)?;
        let (_, body) = split(&answer).ok_or_else(|| ApiError::NotHttp(self.socket.clone()))?;
        let events = serde_json::Deserializer::from_slice(body).into_iter::<Happened>();
        events
            .collect::<Result<_, _>>()
            .map_err(|error| ApiError::UnknownForm(self.socket.clone(), error))
    }

    /// Whether the command of an action `exec_start` has run: it has a pid, also after its end, or it is still
    /// being started. `true` for other actions, and if the engine does not say.
    pub(crate) fn has_run(&self, happened: &Happened, patience: Duration) -> bool {
        let Some(exec) = &happened.actor.attributes.exec else { return true };
        let state: Result<(ExecState, _), _> = self.get(&format!("/exec/{exec}/json"), patience);
        state.map_or(true, |(state, _)| state.pid > 0 || state.exit_code.is_none())
    }

    fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        patience: Duration,
    ) -> Result<(T, Peer), ApiError> {
        let (answer, peer) = self.ask(path, patience)?;
        let (_, body) = split(&answer).ok_or_else(|| ApiError::NotHttp(self.socket.clone()))?;
        // An answer that was cut is no valid JSON.
        serde_json::from_slice(body)
            .map(|answer| (answer, peer))
            .map_err(|error| ApiError::UnknownForm(self.socket.clone(), error))
    }

    /// An answer whose status is 200.
    fn ask(&self, path: &str, patience: Duration) -> Result<(Vec<u8>, Peer), ApiError> {
        let (answer, peer) =
            exchange(&self.socket, path, patience).map_err(|error| self.explain(error))?;
        match split(&answer) {
            Some((200, _)) => Ok((answer, peer)),
            Some((status, _)) => Err(ApiError::Status(self.socket.clone(), status)),
            None => Err(ApiError::NotHttp(self.socket.clone())),
        }
    }

    fn explain(&self, error: io::Error) -> ApiError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ApiError::Refused(socket),
            io::ErrorKind::PermissionDenied => ApiError::Forbidden(socket),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ApiError::Silent(socket),
            io::ErrorKind::FileTooLarge => ApiError::TooLong(socket),
            _ => ApiError::Broken(socket, error),
        }
    }
}

/// A linked container is also listed under its alias, `/other/alias`, which is not its name.
fn own_name(listed: &str) -> Option<String> {
    let name = listed.strip_prefix('/').unwrap_or(listed);
    (!name.contains('/')).then(|| name.to_owned())
}

/// Sends a request and reads until the engine closes the connection. An answer to HTTP/1.0 is neither chunked nor
/// followed by another one.
fn exchange(socket: &Path, path: &str, patience: Duration) -> io::Result<(Vec<u8>, Peer)> {
    let deadline = Instant::now() + patience;
    let mut stream = connect_by(socket, deadline)?;
    let peer = Peer::of(&stream)?;
    let is_mighty = peer.is_as_mighty();
    let most = if is_mighty { LONGEST_ANSWER } else { LONGEST_ANSWER_OF_OTHERS };
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 64 << 10]);
    while answer.len() <= most {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => return Ok((answer, peer)),
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}

/// The status and the body of an answer (RFC 9112, section 4).
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let status = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let end = answer.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD)?;
    Some((str::from_utf8(status).ok()?.parse().ok()?, &answer[end + END_OF_HEAD.len()..]))
}

#[cfg(test)]
mod tests;
