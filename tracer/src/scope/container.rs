//! Which cgroups are containers, by the names that engines give them.
//!
//! | engine | with cgroupfs | with systemd |
//! |---|---|---|
//! | Docker | `/docker/ID`, `/PARENT/ID` | `docker-ID.scope` |
//! | Podman | `/libpod_parent/libpod-ID` | `libpod-ID.scope`, `libpod-payload-ID` |
//! | containerd with CRI, CRI-O | `/kubepods/…/podUID/ID`, `…/crio-ID`, `/k8s.io/ID` | `cri-containerd-ID.scope`, `crio-ID.scope` |
//! | containerd alone | `/NAMESPACE/ID`, where the id can be any name | the id in the name of a scope |
//! | systemd-machined | – | `machine-NAME.scope`, `systemd-nspawn@NAME.service` |
//! | LXC | `lxc.payload.NAME`, `/lxc/NAME` | the same |
//!
//! The processes that read a container's output are beside it, not in it: `conmon`, `libpod-conmon-ID.scope`,
//! `supervisor`, `lxc.monitor.NAME`.

use std::path::PathBuf;

use crate::target::{
    Roots,
    container::{
        Engine,
        cgroup_path::{components, engine_of, long_id},
        containerd::{STATE_DIRECTORIES, TASKS},
    },
};

/// Namespaces in which containerd's clients make containers unless they are told another one.
const NAMESPACES: [&str; 2] = ["default", "k8s.io"];

/// What the name of a container's cgroup tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A container whose id has 64 digits.
    Container { engine: Engine, id: &'a str },
    /// A container of containerd, which is unique only in its namespace.
    Task { namespace: &'a str, id: &'a str },
    /// A machine that systemd-machined knows, by its name with systemd's escapes.
    Machine { name: &'a str },
    /// A container of LXC, by its name.
    Lxc { name: &'a str },
}

/// The container that a cgroup belongs to: of nested ones the topmost. `path` begins with `/` at the hierarchy's root.
pub(super) fn containing<'a>(roots: &Roots, path: &'a str) -> Option<Named<'a>> {
    components(path).find_map(|(_, upto)| named(roots, upto))
}

/// The container whose own cgroup this is.
pub(super) fn named<'a>(roots: &Roots, path: &'a str) -> Option<Named<'a>> {
    let (above, name) = path.rsplit_once('/')?;
    let parent = above.rsplit('/').next().unwrap_or_default();
    if let Some((prefix, id)) = long_id(name) {
        return of_long_id(parent, prefix, id);
    }
    let machine = name.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
    let nspawn =
        name.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service"));
    let lxc = name.strip_prefix("lxc.payload.").or_else(|| (above == "/lxc").then_some(name));
    if let Some(name) = machine.or(nspawn) {
        return Some(Named::Machine { name });
    }
    if let Some(name) = lxc {
        return Some(Named::Lxc { name });
    }
    task(roots, above, name)
}

fn of_long_id<'a>(parent: &str, prefix: &str, id: &'a str) -> Option<Named<'a>> {
    // A pod of Podman, which has conmon in it.
    if parent == "libpod_parent" && prefix.is_empty() {
        return None;
    }
    let engine = match engine_of(if prefix.is_empty() { parent } else { prefix }) {
        Engine::Unknown if NAMESPACES.contains(&parent) => Engine::Containerd,
        engine => engine,
    };
    Some(Named::Container { engine, id })
}

/// `/NAMESPACE/ID` is a container of containerd (`oci.WithNamespacedCgroup`) if the namespace is a usual one, or if
/// containerd has such a task.
fn task<'a>(roots: &Roots, above: &'a str, id: &'a str) -> Option<Named<'a>> {
    let namespace = above.strip_prefix('/').filter(|above| !above.contains('/'))?;
    let is_no_name = |text: &str| matches!(text, "" | "." | "..");
    if is_no_name(namespace) || is_no_name(id) {
        return None;
    }
    let is_task = NAMESPACES.contains(&namespace)
        || task_directories(roots).any(|tasks| tasks.join(namespace).join(id).is_dir());
    is_task.then_some(Named::Task { namespace, id })
}

/// The directories with the running tasks of every containerd on this machine, by namespace and id.
pub(super) fn task_directories(roots: &Roots) -> impl Iterator<Item = PathBuf> {
    STATE_DIRECTORIES.iter().map(|state| roots.run.join(state).join(TASKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::machine::Machine;

    const ID: &str = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_engine_is_known_by_the_names_that_it_gives() {
        let machine = Machine::unified();
        machine.write("run/containerd/io.containerd.runtime.v2.task/build/job-7/config.json", "{}");
        let roots = machine.roots();
        for (path, engine) in [
            (format!("/docker/{ID}"), Engine::Docker),
            (format!("/system.slice/docker-{ID}.scope"), Engine::Docker),
            (format!("/machine.slice/libpod-{ID}.scope"), Engine::Podman),
            (format!("/system.slice/app.service/libpod-payload-{ID}"), Engine::Podman),
            (format!("/libpod_parent/libpod-{ID}"), Engine::Podman),
            (format!("/libpod_parent/{ID}/libpod-{ID}"), Engine::Podman),
            (format!("/kubepods.slice/a.slice/cri-containerd-{ID}.scope"), Engine::Containerd),
            (format!("/kubepods.slice/a.slice/crio-{ID}.scope"), Engine::Crio),
            (format!("/kubepods/burstable/pod9/crio-{ID}"), Engine::Crio),
            (format!("/kubepods/burstable/pod9/{ID}"), Engine::Unknown),
            (format!("/k8s.io/{ID}"), Engine::Containerd),
            (format!("/made-by-hand/{ID}"), Engine::Unknown),
        ] {
            assert_eq!(named(&roots, &path), Some(Named::Container { engine, id: ID }), "{path}");
        }
        let web = Named::Task { namespace: "default", id: "web" };
        assert_eq!(named(&roots, "/default/web"), Some(web));
        let job = Named::Task { namespace: "build", id: "job-7" };
        assert_eq!(named(&roots, "/build/job-7"), Some(job));
        let machine = "/machine.slice/machine-a\\x2db.scope";
        assert_eq!(named(&roots, machine), Some(Named::Machine { name: "a\\x2db" }));
        let nspawn = "/machine.slice/systemd-nspawn@a.service";
        assert_eq!(named(&roots, nspawn), Some(Named::Machine { name: "a" }));
        assert_eq!(named(&roots, "/lxc.payload.web"), Some(Named::Lxc { name: "web" }));
        assert_eq!(named(&roots, "/lxc/web"), Some(Named::Lxc { name: "web" }));
    }

    #[test]
    fn what_stands_beside_a_container_or_above_it_is_none() {
        let machine = Machine::unified();
        machine.write("run/containerd/io.containerd.runtime.v2.task/build/job-7/config.json", "{}");
        let roots = machine.roots();
        for path in [
            "",
            "/",
            "/docker",
            "/default",
            "/default/",
            "/build/job-8",
            "/build/..",
            "/a/build/job-7",
            "/lxc.monitor.web",
            "/libpod_parent/conmon",
            "/system.slice/app.service/supervisor",
            "/machine.slice",
            "/system.slice/docker.service",
            "/kubepods/burstable/pod9",
            &format!("/machine.slice/libpod-conmon-{ID}.scope"),
            &format!("/kubepods/pod9/crio-conmon-{ID}"),
            &format!("/libpod_parent/{ID}"),
            &format!("/machine.slice/machine-libpod_pod_{ID}.slice"),
            &format!("/docker/{}", &ID[1..]),
        ] {
            assert_eq!(named(&roots, path), None, "{path}");
        }
    }

    #[test]
    fn of_nested_containers_the_topmost_counts() {
        let machine = Machine::unified();
        let other = ID.replace('a', "b");
        let path = format!("/docker/{ID}/docker/{other}/x");
        let expected = Named::Container { engine: Engine::Docker, id: ID };
        assert_eq!(containing(&machine.roots(), &path), Some(expected));
        assert_eq!(containing(&machine.roots(), "/system.slice/a.service"), None);
    }
}
