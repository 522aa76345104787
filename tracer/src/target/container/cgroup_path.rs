//! From cgroup paths to container ids.
//!
//! Engines name a container's cgroup after its id: `/docker/ID`, `/system.slice/docker-ID.scope`, `libpod-ID.scope`,
//! `kubepods.slice/…/cri-containerd-ID.scope`, `…:cri-containerd:ID`. Programs in the container may create cgroups
//! below it, so the path of a process is cut after the component with the id.

use super::{Candidate, Engine};

/// Number of digits in a container id of Docker, Podman, CRI-O and Kubernetes.
pub(super) const ID_LENGTH: usize = 64;

/// The part of a process's cgroup path that is the container's own cgroup.
pub(super) fn cut_after_container<'a>(path: &'a str, candidate: &Candidate) -> Option<&'a str> {
    if let Some(declared) = &candidate.declared_cgroup {
        let rest = path.strip_prefix(declared.as_str());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return path.get(..declared.len());
        }
    }
    let id = candidate.id.as_str();
    let is_long = id.len() == ID_LENGTH && is_hexadecimal(id);
    if !is_long && candidate.declared_cgroup.is_some() {
        return None; // A short id such as `1` would be found where it means something else.
    }
    let is_named_after = |component: &str| {
        component == id || is_long && long_id(component).is_some_and(|(_, found)| found == id)
    };
    components(path).find(|(component, _)| is_named_after(component)).map(|(_, upto)| upto)
}

/// Every long id in a path, with the engine according to its component.
pub(super) fn ids_in(path: &str) -> impl Iterator<Item = (&str, Engine)> {
    let mut above = "";
    components(path).filter_map(move |(component, _)| {
        let parent = std::mem::replace(&mut above, component);
        let (prefix, id) = long_id(component)?;
        let hint = if prefix.is_empty() { parent } else { prefix };
        Some((id, engine_of(hint)))
    })
}

/// Each component of a path, with the path up to its end.
pub(crate) fn components(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    ends.filter_map(move |end| {
        let upto = path.get(..end)?;
        Some((upto.rsplit('/').next()?, upto))
    })
}

/// Splits `docker-ID.scope` and the like into the text before the id and the id. `None` for the cgroup of conmon,
/// which holds the container's output open from outside.
pub(crate) fn long_id(component: &str) -> Option<(&str, &str)> {
    let stem = component.strip_suffix(".scope").unwrap_or(component);
    let (prefix, id) = stem.split_at_checked(stem.len().checked_sub(ID_LENGTH)?)?;
    let is_separated = prefix.is_empty() || prefix.ends_with(['-', ':']);
    (is_separated && is_hexadecimal(id) && !prefix.contains("conmon")).then_some((prefix, id))
}

/// The engine that a part of a cgroup's name hints at.
pub(crate) fn engine_of(hint: &str) -> Engine {
    let known = [
        ("cri-containerd", Engine::Containerd),
        ("nerdctl", Engine::Containerd),
        ("crio", Engine::Crio),
        ("libpod", Engine::Podman),
        ("docker", Engine::Docker),
    ];
    known
        .into_iter()
        .find_map(|(name, engine)| hint.contains(name).then_some(engine))
        .unwrap_or(Engine::Unknown)
}

pub(super) fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::{super::Init, *};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn candidate(id: &str, declared: Option<&str>) -> Candidate {
        Candidate {
            engine: Engine::Unknown,
            id: id.to_owned(),
            names: Vec::new(),
            init: Init::Search,
            pod: None,
            declared_cgroup: declared.map(str::to_owned),
            doubt: None,
        }
    }

    #[test]
    fn every_known_form_of_path_tells_id_and_engine() {
        let forms = [
            (format!("/docker/{ID}"), Engine::Docker),
            (format!("/system.slice/docker-{ID}.scope"), Engine::Docker),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Engine::Podman),
            (format!("/kubepods.slice/pod1.slice/cri-containerd-{ID}.scope"), Engine::Containerd),
            (format!("/system.slice/x.service/pod1.slice:cri-containerd:{ID}"), Engine::Containerd),
            (format!("/kubepods.slice/crio-{ID}.scope"), Engine::Crio),
            (format!("/kubepods/burstable/pod1/{ID}"), Engine::Unknown),
        ];
        for (path, engine) in forms {
            assert_eq!(ids_in(&path).collect::<Vec<_>>(), [(ID, engine)], "{path}");
            let cut = cut_after_container(&path, &candidate(ID, None)).unwrap();
            assert!(cut.contains(ID) && !cut.ends_with("/container"), "{cut}");
        }
    }

    #[test]
    fn what_only_looks_like_a_container_is_passed_over() {
        let paths = [
            "/".to_owned(),
            "/user.slice/session-1.scope".to_owned(),
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/x{ID}"),
            format!("/{}", &ID[1..]),
            format!("/{}g", &ID[1..]),
        ];
        for path in paths {
            assert_eq!(ids_in(&path).count(), 0, "{path}");
            assert_eq!(cut_after_container(&path, &candidate(ID, None)), None, "{path}");
        }
    }

    #[test]
    fn a_container_inside_of_another_is_told_from_it() {
        let inner = ID.replace('0', "f");
        let path = format!("/docker/{ID}/docker/{inner}/init.scope");
        let outer = cut_after_container(&path, &candidate(ID, None)).unwrap();
        assert_eq!(outer, format!("/docker/{ID}"));
        let cut = cut_after_container(&path, &candidate(&inner, None)).unwrap();
        assert_eq!(cut, format!("/docker/{ID}/docker/{inner}"));
        assert_eq!(ids_in(&path).count(), 2);
    }

    #[test]
    fn a_declared_path_decides_for_short_ids() {
        let web = candidate("1", Some("/default/1"));
        assert_eq!(cut_after_container("/default/1", &web), Some("/default/1"));
        assert_eq!(cut_after_container("/default/1/sub", &web), Some("/default/1"));
        assert_eq!(cut_after_container("/default/10", &web), None);
        assert_eq!(cut_after_container("/other/1", &web), None);
        let undeclared = candidate("web", None);
        assert_eq!(cut_after_container("/ns/web/sub", &undeclared), Some("/ns/web"));
        assert_eq!(cut_after_container("/ns/my-web.scope", &undeclared), None);
    }
}
