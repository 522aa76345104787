//! From a container to its cgroup, by the cgroup files of running processes.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use procfs::{
    ProcResult, ProcessCGroups,
    process::{Process, all_processes_with_root},
};

use super::{
    Candidate, EngineAnswer, Init,
    cgroup_path::{cut_after_container, ids_in, is_hexadecimal},
    engine_api::{EngineApi, InitState},
};
use crate::{
    sys::bounded,
    target::{
        CgroupTarget, Hierarchy, Roots, TargetError,
        error::list_answers,
        hierarchy::{CgroupMount, CgroupMounts},
    },
};

/// A shorter beginning of an id is not searched for in cgroup paths.
const SHORTEST_PREFIX: usize = 4;

/// One line of a process's cgroup file.
#[derive(Debug, PartialEq, Eq)]
struct Membership {
    /// Empty for version 2.
    controllers: Vec<String>,
    path: String,
}

/// The result of a search for a container's cgroup.
enum Place {
    At(Hierarchy, PathBuf),
    /// The kernel shows this path, but no mounted hierarchy contains it.
    Hidden(String),
    Nowhere,
}

/// Containers that no engine listed, found by the id in cgroup paths of running processes. Other programs can give a
/// cgroup such a name, so each is in doubt.
pub(super) fn candidates_by_id(
    roots: &Roots,
    typed: &str,
    asked: &[EngineAnswer],
) -> Result<Vec<Candidate>, TargetError> {
    let doubt = || {
        let answers = list_answers(asked);
        Some(format!(
            "no engine lists it ({answers}), only the name of a cgroup says that it is one"
        ))
    };
    let mut found: Vec<Candidate> = Vec::new();
    if typed.len() < SHORTEST_PREFIX || !is_hexadecimal(typed) {
        return Ok(found);
    }
    for (pid, memberships) in all_memberships(roots)? {
        let ids = memberships.iter().flat_map(|membership| ids_in(&membership.path));
        for (id, engine) in ids.filter(|(id, _)| id.starts_with(typed)) {
            if found.iter().all(|known| known.id != id) {
                found.push(Candidate {
                    engine,
                    id: id.to_owned(),
                    names: Vec::new(),
                    init: Init::Written(pid),
                    pod: None,
                    declared_cgroup: None,
                    doubt: doubt(),
                });
            }
        }
    }
    Ok(found)
}

/// The cgroup of a container.
pub(super) fn locate(roots: &Roots, candidate: &Candidate) -> Result<CgroupTarget, TargetError> {
    let mounts = CgroupMounts::read(&roots.proc, &roots.cgroup)?;
    if mounts.usable().next().is_none() {
        return Err(TargetError::NoCgroupMount { root: roots.cgroup.clone() });
    }
    let (reported, written) = match &candidate.init {
        Init::Ask(api) => (Some(ask_for_init(api, candidate)?), None),
        Init::Written(pid) => (None, Some(*pid)),
        Init::Search => (None, None),
    };
    let mut place = place_of_init(roots, &mounts, candidate, reported.or(written));
    let mut doubt = candidate.doubt.clone();
    if let (Place::Nowhere, Some(pid)) = (&place, reported) {
        place = place_beside_parent(roots, &mounts, pid);
    }
    // Root's engine knows the first process. Any user who may make cgroups can give one the name of the container.
    if matches!(place, Place::Nowhere) && (reported.is_none() || doubt.is_some()) {
        place = place_by_id(roots, &mounts, candidate)?;
        doubt = doubt.or_else(|| doubt_of_name(roots, &place));
    }
    let container = candidate.as_match();
    match (place, reported) {
        (Place::At(hierarchy, directory), _) => {
            let found = CgroupTarget::at(directory, hierarchy, container.label().to_owned())?;
            Ok(CgroupTarget { doubt, ..found })
        }
        (Place::Hidden(cgroup), _) => Err(TargetError::ContainerCgroupHidden {
            container,
            cgroup,
            root: roots.cgroup.clone(),
        }),
        (Place::Nowhere, Some(pid)) => Err(TargetError::ContainerWithoutCgroup { container, pid }),
        (Place::Nowhere, None) => {
            Err(TargetError::ContainerNotRunning { container, state: "stopped".to_owned() })
        }
    }
}

fn ask_for_init(api: &EngineApi, candidate: &Candidate) -> Result<u32, TargetError> {
    match api.init_state(&candidate.id) {
        Ok(InitState { pid: 0, status }) => {
            Err(TargetError::ContainerNotRunning { container: candidate.as_match(), state: status })
        }
        Ok(InitState { pid, .. }) => Ok(pid),
        Err(error) => Err(TargetError::ContainerUnreadable {
            container: candidate.as_match(),
            reason: error.to_string(),
        }),
    }
}

/// The cgroup of the known first process, if it has the id in its name: a written pid may be out of date, and a pid of
/// an engine in another pid namespace means another process here.
fn place_of_init(
    roots: &Roots,
    mounts: &CgroupMounts,
    candidate: &Candidate,
    init: Option<u32>,
) -> Place {
    let memberships = init.and_then(|pid| memberships_of(roots, pid)).unwrap_or_default();
    find_place(mounts, &memberships, |line| cut_after_container(&line.path, candidate))
}

/// The first cgroup of a running process that has the id in its name.
fn place_by_id(
    roots: &Roots,
    mounts: &CgroupMounts,
    candidate: &Candidate,
) -> Result<Place, TargetError> {
    let mut best = Place::Nowhere;
    for (_, memberships) in all_memberships(roots)? {
        match find_place(mounts, &memberships, |line| cut_after_container(&line.path, candidate)) {
            Place::Nowhere => {}
            place @ Place::At(..) => return Ok(place),
            place @ Place::Hidden(_) => best = place,
        }
    }
    Ok(best)
}

/// Why a cgroup that was found by its name may not be the container's: another user owns it or a cgroup above it, and
/// can name cgroups there, or it is inside of a container.
fn doubt_of_name(roots: &Roots, place: &Place) -> Option<String> {
    let Place::At(_, directory) = place else { return None };
    if let Some(doubt) = doubt_of_owner(roots, directory) {
        return Some(doubt);
    }
    let is_inside = ids_in(&directory.to_string_lossy()).count() > 1;
    is_inside.then(|| {
        let cgroup = directory.display();
        format!("only the name of its cgroup says so, and {cgroup} is inside of a container")
    })
}

/// The same for another user who owns a cgroup or one above it.
fn doubt_of_owner(roots: &Roots, directory: &Path) -> Option<String> {
    let above = directory.ancestors().take_while(|path| path.starts_with(&roots.cgroup));
    let owner = above
        .filter_map(|path| Some((path, fs::metadata(path).ok()?.uid())))
        .find(|(_, uid)| *uid != roots.root_uid);
    let (path, uid) = owner?;
    Some(format!("only the name of its cgroup says so, and uid {uid} owns {}", path.display()))
}

/// For a container whose cgroup does not have its id in its name: a cgroup of the first process that its parent,
/// which is outside of the container, is not in.
fn place_beside_parent(roots: &Roots, mounts: &CgroupMounts, pid: u32) -> Place {
    let parent = open(roots, pid)
        .and_then(|process| process.stat())
        .ok()
        .and_then(|stat| u32::try_from(stat.ppid).ok())
        .and_then(|parent| memberships_of(roots, parent));
    let (Some(own), Some(parent)) = (memberships_of(roots, pid), parent) else {
        return Place::Nowhere;
    };
    find_place(mounts, &own, |membership| {
        let is_own = membership.path != "/" && !parent.contains(membership);
        is_own.then_some(membership.path.as_str())
    })
}

/// The first hierarchy, in order of preference, in which `choose` finds a cgroup.
fn find_place<'a>(
    mounts: &CgroupMounts,
    memberships: &'a [Membership],
    choose: impl Fn(&'a Membership) -> Option<&'a str>,
) -> Place {
    let mut hidden = None;
    for (hierarchy, mount) in mounts.usable() {
        let in_hierarchy = |membership: &&Membership| match hierarchy {
            Hierarchy::V2 => membership.controllers.is_empty(),
            Hierarchy::V1 { controller } => membership.controllers.contains(controller),
        };
        let chosen = memberships.iter().find(in_hierarchy).and_then(&choose);
        match chosen.map(|path| (path, existing_directory(mount, path))) {
            Some((_, Some(directory))) => return Place::At(hierarchy.clone(), directory),
            Some((path, None)) => hidden = hidden.or(Some(path)),
            None => {}
        }
    }
    hidden.map_or(Place::Nowhere, |path| Place::Hidden(path.to_owned()))
}

fn existing_directory(mount: &CgroupMount, path: &str) -> Option<PathBuf> {
    mount.directory_of(path).filter(|directory| directory.is_dir())
}

fn all_memberships(
    roots: &Roots,
) -> Result<impl Iterator<Item = (u32, Vec<Membership>)>, TargetError> {
    let processes = all_processes_with_root(&roots.proc)
        .map_err(TargetError::procfs("the list of processes"))?;
    Ok(processes.filter_map(|process| {
        // A process may end while the list is read.
        let process = process.ok()?;
        Some((u32::try_from(process.pid()).ok()?, read_memberships(&process)?))
    }))
}

fn memberships_of(roots: &Roots, pid: u32) -> Option<Vec<Membership>> {
    read_memberships(&open(roots, pid).ok()?)
}

fn open(roots: &Roots, pid: u32) -> ProcResult<Process> {
    Process::new_with_root(roots.proc.join(pid.to_string()))
}

fn read_memberships(process: &Process) -> Option<Vec<Membership>> {
    let lines = bounded::of_process::<ProcessCGroups>(process, "cgroup").ok()?.into_iter();
    Some(
        lines
            .map(|line| Membership { controllers: line.controllers, path: line.pathname })
            .collect(),
    )
}
