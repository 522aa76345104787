//! A container, by its name, its id, or the beginning of its id.
//!
//! Every engine on the machine is asked, because several can know the same name. The result is always the container's
//! cgroup: a process started by `docker exec` is in it, but is no descendant of the container's first process.

pub(crate) mod cgroup_path;
pub(crate) mod containerd;
pub(crate) mod docker;
pub(crate) mod engine_api;
mod membership;
pub mod place;
pub mod pod;
pub(crate) mod podman;
pub(crate) mod proof;

use std::{cmp::Ordering, fmt, path::PathBuf};

use engine_api::EngineApi;
use pod::PodOf;

use super::{CgroupTarget, Roots, TargetError};

/// A container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// containerd, alone or below nerdctl or Kubernetes.
    Containerd,
    /// CRI-O.
    Crio,
    /// No engine is known: the id is from the cgroup path of a process.
    Unknown,
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Unknown => "unknown engine",
        })
    }
}

/// The answer of one engine that was asked for its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAnswer {
    /// The engine.
    pub engine: Engine,
    /// Its answer.
    pub answer: Answer,
}

/// An engine's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The engine is not there.
    Absent {
        /// The socket or directory where it would be.
        looked_at: PathBuf,
    },
    /// The engine is there, but did not answer as it should.
    Failed(String),
    /// This many containers, none of which is the named one.
    Listed(usize),
}

impl fmt::Display for EngineAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.engine;
        match &self.answer {
            Answer::Absent { looked_at } => {
                write!(formatter, "{engine}: nothing at {}", looked_at.display())
            }
            Answer::Failed(reason) => write!(formatter, "{engine}: {reason}"),
            Answer::Listed(1) => write!(formatter, "{engine}: 1 other container"),
            Answer::Listed(count) => write!(formatter, "{engine}: {count} containers, none fits"),
        }
    }
}

/// A container that fits the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its engine.
    pub engine: Engine,
    /// Its full id.
    pub id: String,
    /// Its name; `None` if it has none.
    pub name: Option<String>,
}

impl Match {
    /// The id in the form that engines print: its first 12 digits.
    pub fn short_id(&self) -> &str {
        let is_long = self.id.len() == cgroup_path::ID_LENGTH;
        if is_long { self.id.get(..12).unwrap_or(&self.id) } else { &self.id }
    }

    /// Its name in reports.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.short_id())
    }
}

impl fmt::Display for Match {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(formatter, "{name} ({} {})", self.engine, self.short_id()),
            None => write!(formatter, "{} ({})", self.short_id(), self.engine),
        }
    }
}

/// A container that an engine listed.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    engine: Engine,
    id: String,
    /// Its names. The first one is shown.
    names: Vec<String>,
    init: Init,
    /// The pod that it is part of.
    pod: Option<PodOf>,
    /// The cgroup in its configuration, if that is a path.
    declared_cgroup: Option<String>,
    /// Why it may not be a container: root's engine, or its state, does not say so.
    doubt: Option<String>,
}

/// How to find a container's first process.
#[derive(Clone, Debug)]
pub(crate) enum Init {
    /// The engine has written down its pid, which may be out of date.
    Written(u32),
    /// The engine's API returns it.
    Ask(EngineApi),
    /// Its id must be searched for in the cgroups of all processes.
    Search,
}

/// The answer of one engine, and the containers that it listed.
#[derive(Debug)]
pub(crate) struct Survey {
    answer: EngineAnswer,
    candidates: Vec<Candidate>,
}

impl Survey {
    fn listed(engine: Engine, candidates: Vec<Candidate>) -> Self {
        let answer = EngineAnswer { engine, answer: Answer::Listed(candidates.len()) };
        Self { answer, candidates }
    }

    fn empty(engine: Engine, answer: Answer) -> Self {
        Self { answer: EngineAnswer { engine, answer }, candidates: Vec::new() }
    }
}

/// How well a container fits the name; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Id,
    Name,
    IdPrefix,
}

impl Candidate {
    fn fit(&self, typed: &str) -> Option<Fit> {
        if self.id == typed {
            return Some(Fit::Id);
        }
        // In Kubernetes, `pod/container` is enough for `namespace/pod/container`.
        let is_end_of =
            |name: &str| name.strip_suffix(typed).is_some_and(|rest| rest.ends_with('/'));
        if self.names.iter().any(|name| name == typed || is_end_of(name)) {
            return Some(Fit::Name);
        }
        self.id.starts_with(typed).then_some(Fit::IdPrefix)
    }

    fn as_match(&self) -> Match {
        Match { engine: self.engine, id: self.id.clone(), name: self.names.first().cloned() }
    }
}

/// The answers of all engines on this machine, and the containers that they listed.
struct Listing {
    asked: Vec<EngineAnswer>,
    /// Listed by root's engines and their state.
    believed: Vec<Candidate>,
    /// Listed by another user's engine, which does not stand beside what root's engine lists.
    doubted: Vec<Candidate>,
}

impl Listing {
    fn of(roots: &Roots) -> Self {
        let surveys = [docker::survey(roots), podman::survey(roots), containerd::survey(roots)];
        let (asked, listed): (Vec<_>, Vec<_>) =
            surveys.into_iter().map(|survey| (survey.answer, survey.candidates)).unzip();
        let (believed, doubted) =
            listed.into_iter().flatten().partition(|candidate| candidate.doubt.is_none());
        Self { asked, believed, doubted }
    }
}

/// Finds a container of any engine on this machine, and its cgroup.
pub(super) fn resolve(roots: &Roots, name: &str) -> Result<CgroupTarget, TargetError> {
    let typed = name.trim();
    if typed.is_empty() {
        return Err(TargetError::EmptyName { what: "container name" });
    }
    let Listing { asked, believed, doubted } = Listing::of(roots);
    let mut fitting = best_of(typed, believed, doubted);
    if fitting.is_empty() {
        fitting = membership::candidates_by_id(roots, typed, &asked)?;
    }
    if fitting.len() > 1 {
        let candidates = fitting.iter().map(Candidate::as_match).collect();
        return Err(TargetError::ContainerAmbiguous { name: typed.to_owned(), candidates });
    }
    match fitting.pop() {
        Some(candidate) => membership::locate(roots, &candidate),
        None => Err(TargetError::ContainerNotFound { name: typed.to_owned(), asked }),
    }
}

/// Keeps the containers that fit best, of those that root's engines list if there is one.
fn best_of(typed: &str, believed: Vec<Candidate>, doubted: Vec<Candidate>) -> Vec<Candidate> {
    let fitting = best_fitting(typed, believed.into_iter());
    if fitting.is_empty() { best_fitting(typed, doubted.into_iter()) } else { fitting }
}

/// Keeps the containers that fit best. An engine that runs its containers through another engine lists the same ids
/// as that one; the first in the list counts.
fn best_fitting(typed: &str, candidates: impl Iterator<Item = Candidate>) -> Vec<Candidate> {
    let mut best: Option<Fit> = None;
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let Some(fit) = candidate.fit(typed) else { continue };
        match best.map_or(Ordering::Less, |best| fit.cmp(&best)) {
            Ordering::Less => {
                best = Some(fit);
                kept = vec![candidate];
            }
            Ordering::Equal if kept.iter().all(|other| other.id != candidate.id) => {
                kept.push(candidate);
            }
            Ordering::Equal | Ordering::Greater => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests;
