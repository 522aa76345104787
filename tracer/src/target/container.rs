//! A container named as its engine names it: by name, id, or beginning of its id.
//!
//! Every engine on the machine is asked, because a name may be known to more than one. Whatever the
//! engine, the answer is the container's cgroup: a process started by `docker exec` belongs to it
//! without descending from the container's first process.

pub(crate) mod containerd;
pub(crate) mod docker;
pub(crate) mod engine_api;
pub(crate) mod membership;
pub(crate) mod podman;

use std::{cmp::Ordering, fmt, path::PathBuf};

use engine_api::EngineApi;

use super::{CgroupTarget, Roots, TargetError};

/// Who runs a container.
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
    /// Known only by the id in a process's cgroup path.
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

/// What one engine said when asked for its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAnswer {
    /// Who was asked.
    pub engine: Engine,
    /// What came back.
    pub answer: Answer,
}

/// An engine's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no such engine where it was looked for.
    Absent {
        /// The socket or directory that would be there.
        looked_at: PathBuf,
    },
    /// The engine is there but did not answer as it should.
    Failed(String),
    /// So many containers, none of them the one that was named.
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
            Answer::Listed(1) => write!(formatter, "{engine}: 1 container, another"),
            Answer::Listed(count) => write!(formatter, "{engine}: {count} containers, none fits"),
        }
    }
}

/// A container that fits what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Who runs it.
    pub engine: Engine,
    /// Its whole id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
}

impl Match {
    /// The id as engines print it: the first 12 digits.
    pub fn short_id(&self) -> &str {
        let is_long = self.id.len() == membership::ID_LENGTH;
        if is_long { self.id.get(..12).unwrap_or(&self.id) } else { &self.id }
    }

    /// What to call it in reports.
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
    /// What it may be called; the first is how it is shown.
    names: Vec<String>,
    init: Init,
    /// The cgroup its configuration asks for, if that is a path.
    declared_cgroup: Option<String>,
}

/// How to find a container's first process.
#[derive(Clone, Debug)]
pub(crate) enum Init {
    /// The engine wrote its pid down; it may be stale.
    Written(u32),
    /// The engine tells when asked.
    Ask(EngineApi),
    /// Only by looking for its id in the cgroups of all processes.
    Search,
}

/// What one engine answered, and what it listed.
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

/// How well a container fits what was typed; the smaller the better.
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
        // In Kubernetes `pod/container` is enough of `namespace/pod/container`.
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

/// Finds a container in any engine of this machine and the cgroup it runs in.
pub(super) fn resolve(roots: &Roots, name: &str) -> Result<CgroupTarget, TargetError> {
    let typed = name.trim();
    if typed.is_empty() {
        return Err(TargetError::EmptyName { what: "container name" });
    }
    let surveys = [docker::survey(roots), podman::survey(roots), containerd::survey(roots)];
    let (asked, listed): (Vec<_>, Vec<_>) =
        surveys.into_iter().map(|survey| (survey.answer, survey.candidates)).unzip();
    let mut fitting = best_fitting(typed, listed.into_iter().flatten());
    if fitting.is_empty() {
        fitting = membership::candidates_by_id(roots, typed)?;
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

/// Keeps those that fit best. An engine that runs its containers through another one lists the same
/// id as the other: the first listed counts.
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
