//! What a cgroup is: the container, pod or unit that it belongs to, from its path and from what engines have written down.
//!
//! No engine is asked, so a name costs a few reads of files, and is known also of a container that lives for one second,
//! if it is asked for when its cgroup appears.

mod containerd;
mod docker;
mod storage;

use std::{
    collections::HashMap,
    fs::canonicalize,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
pub use tracer_history::Place;

use super::{
    container::{self, Named},
    owner::CgroupPath,
};
use crate::{
    sys::bounded,
    target::{
        Roots,
        container::{
            Engine,
            pod::PodOf,
            proof::{is_roots_alone, is_roots_alone_below},
        },
    },
};

/// The longest name in bytes, which is that of a Kubernetes object (RFC 1123).
const LONGEST: usize = 253;
/// The largest file about one container, in bytes. Its environment is in it, of up to 2 MiB (`execve(2)`).
const LARGEST: usize = 4 << 20;
/// The name that the kubelet, cri-dockerd and CRI-O give the sandbox of a pod. No container can have it (RFC 1123).
const SANDBOX: &str = "POD";
/// Suffixes of the units that have processes (`systemd.unit(5)`).
const UNITS: [&str; 3] = [".service", ".scope", ".socket"];

/// What an engine has written down about a container.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    engine: Option<Engine>,
    name: Option<String>,
    image: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
}

/// What a cgroup is. Its path begins at the root of the hierarchy, as the label of a [`crate::target::CgroupTarget`] that
/// [`super::watch`] tells; a process's path below a container's cgroup gives that container. Of nested containers, the
/// topmost.
///
/// Only names that root gave count. Any other user can call a cgroup as a container or unit is called: of a cgroup of a
/// user's manager, the unit is `user@UID.service`, and no container is told.
///
/// Only the state of root's engines is read, and only files that no other user can write to or replace. Containers of
/// root's engines with another state directory than the usual ones have an id and no name. Docker's data can be elsewhere
/// (`data-root`). What is missing or cannot be read is `None`.
///
/// `engine` can change from `None` or `containerd`, and `container`, `image`, `namespace` and `pod` from `None`, while the
/// engine still writes its files. That is at most some milliseconds after the cgroup appeared: ask again until
/// [`Place::is_named`], or for a second. All other fields are in the path. When the container has ended, its files go.
#[must_use]
pub fn place(roots: &Roots, cgroup: &CgroupPath) -> Place {
    let mut place = Place {
        cgroup: cgroup.as_str().to_owned(),
        unit: unit_of(cgroup.proven()).and_then(cut),
        ..Place::default()
    };
    match container::containing(roots, cgroup.proven()) {
        Some(Named::Container { engine, id }) => {
            let written = docker::written(roots, id)
                .or_else(|| containerd::written(roots, None, id))
                .or_else(|| storage::written(roots, id));
            add_container(&mut place, engine, id, &written.unwrap_or_default());
        }
        Some(Named::Task { namespace, id }) => {
            let written = containerd::written(roots, Some(namespace), id);
            add_container(&mut place, Engine::Containerd, id, &written.unwrap_or_default());
        }
        Some(Named::Machine { name }) => {
            place.engine = Some("systemd-machined".to_owned());
            place.container = cut(&unescaped(name));
        }
        Some(Named::Lxc { name }) => {
            place.engine = Some("lxc".to_owned());
            place.container = cut(name);
        }
        None => {}
    }
    place
}

/// Adds what is known about a container.
fn add_container(place: &mut Place, by_path: Engine, id: &str, written: &Written) {
    let by_path = (by_path != Engine::Unknown).then_some(by_path);
    place.container_id = Some(id.to_owned());
    place.engine = written.engine.or(by_path).map(|engine| engine.to_string());
    place.container = written.name.as_deref().and_then(cut);
    place.image = written.image.as_deref().and_then(cut);
    place.namespace = written.namespace.as_deref().and_then(cut);
    place.pod = written.pod.as_deref().and_then(cut);
}

impl Written {
    /// From the labels that the kubelet gives each container, and from the name that is made of them:
    /// `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`.
    fn with_kubelets(mut self, labels: &HashMap<String, String>, full_name: Option<&str>) -> Self {
        let label = |what: &str| labels.get(&format!("io.kubernetes.{what}")).cloned();
        if let Some(full_name) = full_name
            && let Some(of) = PodOf::by_names(&[full_name.to_owned()])
        {
            self.name = full_name.split('_').nth(1).map(str::to_owned);
            self.pod = Some(of.pod.name);
            self.namespace = Some(of.pod.namespace);
        }
        self.name = label("container.name").or(self.name);
        self.pod = label("pod.name").or(self.pod);
        self.namespace = label("pod.namespace").or(self.namespace);
        self.name = self.name.filter(|name| self.pod.is_none() || name != SANDBOX);
        self
    }
}

/// The unit of the system's manager, which puts it below slices only. A name further down is of what runs in the unit: a
/// container, or a user's manager.
fn unit_of(cgroup: &str) -> Option<&str> {
    let mut names = cgroup.split('/').filter(|name| !name.is_empty());
    let name = names.find(|name| !name.ends_with(".slice"))?;
    UNITS.iter().any(|suffix| name.ends_with(suffix)).then_some(name)
}

/// The first [`LONGEST`] bytes of a name; `None` if it is empty.
fn cut(name: &str) -> Option<String> {
    let end = (0..=LONGEST.min(name.len())).rev().find(|end| name.is_char_boundary(*end))?;
    name.get(..end).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Replaces `\x2d` and the like by their characters (`systemd-escape(1)`).
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let digits =
            after.get(..2).filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(b"\\x"),
        }
        rest = digits.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a file about one container that only root can have written.
fn read<T: DeserializeOwned>(roots: &Roots, path: &Path) -> Option<T> {
    read_up_to(roots, path, LARGEST)
}

fn read_up_to<T: DeserializeOwned>(roots: &Roots, path: &Path, most: usize) -> Option<T> {
    let path = believed(roots, path)?;
    let file = bounded::beginning(path, most).ok()?;
    if file.is_cut {
        return None;
    }
    serde_json::from_slice(&file.bytes).ok()
}

/// The path without symbolic links of a file that is no link itself, if no other user than root can write to it or
/// replace it. A link above it is an administrator's who has moved the data of an engine.
fn believed(roots: &Roots, path: &Path) -> Option<PathBuf> {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let path = is_file.then(|| canonicalize(path).ok()).flatten()?;
    let bases = [&roots.run, &roots.var_lib, &roots.etc];
    let is_believed = match bases.into_iter().find(|base| path.starts_with(base)) {
        Some(base) => is_roots_alone_below(roots.root_uid, base, &path),
        None => is_roots_alone(roots.root_uid, &path),
    };
    is_believed.then_some(path)
}

#[cfg(test)]
mod tests;
