//! A Kubernetes pod: its sandbox and its containers, by the pod's namespace and name.
//!
//! The kubelet puts all of them below one cgroup, which has the pod's uid in its name. Where that is sure, this cgroup
//! is the target, and with it every container that the pod starts later.

use std::{collections::BTreeSet, fmt, fs, path::Path, str::FromStr};

use super::{Candidate, Listing, membership};
use crate::target::{CgroupTarget, Roots, TargetError};

/// Namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl FromStr for PodName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("a pod is its namespace and its name, such as default/web-0"),
        }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The pod that a container is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodOf {
    /// The pod.
    pub(crate) pod: PodName,
    /// Its uid, if the engine knows it.
    pub(super) uid: Option<String>,
}

impl PodOf {
    /// Reads the name that CRI-O and the Docker shim give a container: `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`, and
    /// `POD` as the container's name for the sandbox. No part can contain a `_`.
    pub(crate) fn by_names(names: &[String]) -> Option<Self> {
        names.iter().find_map(|name| {
            let parts: Vec<&str> = name.strip_prefix("k8s_")?.split('_').collect();
            let [_, name, namespace, uid, _] = parts.as_slice() else { return None };
            let pod = PodName { namespace: (*namespace).to_owned(), name: (*name).to_owned() };
            Some(Self { pod, uid: Some((*uid).to_owned()) })
        })
    }
}

/// Finds the cgroups of a pod: its own, or those of its containers that run.
pub(in crate::target) fn resolve(
    roots: &Roots,
    pod: &PodName,
) -> Result<Vec<CgroupTarget>, TargetError> {
    let Listing { asked, believed, doubted } = Listing::of(roots);
    let of_pod = |candidates: Vec<Candidate>| -> Vec<Candidate> {
        let mut is_new = BTreeSet::new();
        let is_part =
            |candidate: &Candidate| candidate.pod.as_ref().is_some_and(|of| of.pod == *pod);
        candidates
            .into_iter()
            .filter(|candidate| is_part(candidate) && is_new.insert(candidate.id.clone()))
            .collect()
    };
    let mut parts = of_pod(believed);
    if parts.is_empty() {
        parts = of_pod(doubted);
    }
    if parts.is_empty() {
        return Err(TargetError::PodNotFound { pod: pod.clone(), asked });
    }
    let mut found = Vec::new();
    for part in &parts {
        match membership::locate(roots, part) {
            Ok(cgroup) => found.push(cgroup),
            // Containers that initialised the pod have ended.
            Err(TargetError::ContainerNotRunning { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if found.is_empty() {
        return Err(TargetError::PodNotRunning { pod: pod.clone(), containers: parts.len() });
    }
    let uid = parts.iter().find_map(|part| part.pod.as_ref()?.uid.as_deref());
    match uid.map(|uid| own_cgroup(pod, uid, &found)).transpose()?.flatten() {
        Some(own) => Ok(vec![own]),
        None => Ok(found),
    }
}

/// The cgroup that has all of the pod's containers below it, and nothing else.
fn own_cgroup(
    pod: &PodName,
    uid: &str,
    containers: &[CgroupTarget],
) -> Result<Option<CgroupTarget>, TargetError> {
    let Some(first) = containers.first() else { return Ok(None) };
    let Some(parent) = first.path.parent() else { return Ok(None) };
    let is_of_pod = |parent: &Path| {
        // systemd has no `-` within the name of a slice: `kubepods-burstable-podUID.slice`.
        let name = parent.file_name().unwrap_or_default().to_string_lossy().replace('_', "-");
        let name = name.strip_suffix(".slice").unwrap_or(&name);
        name.strip_suffix(uid).is_some_and(|rest| rest.ends_with("pod"))
    };
    let are_together = containers.iter().all(|one| one.path.parent() == Some(parent));
    if !are_together || !is_of_pod(parent) || has_conmon(parent) {
        return Ok(None);
    }
    let doubt = containers.iter().find_map(|one| one.doubt.clone());
    let own = CgroupTarget::at(parent.to_owned(), first.hierarchy.clone(), pod.to_string())?;
    Ok(Some(CgroupTarget { doubt, ..own }))
}

/// Whether CRI-O has put the processes that read the containers' output into the pod's cgroup.
fn has_conmon(cgroup: &Path) -> bool {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().contains("conmon"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::machine::Machine;

    const UID: &str = "0b3e1f5a-7c00-4d4e-9b5f-1234567890ab";

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    /// A container of containerd's Kubernetes plug-in, with a process in a cgroup.
    fn add_task(machine: &Machine, digit: char, pod: &str, cgroup: &str, pid: u32) {
        let task = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{}", id(digit));
        let (namespace, name) = pod.split_once('/').unwrap();
        let key = "io.kubernetes.cri.sandbox";
        let annotations = format!(
            "{{\"{key}-namespace\":\"{namespace}\",\"{key}-name\":\"{name}\",\"{key}-uid\":\"{UID}\"}}"
        );
        machine
            .write(&format!("{task}/config.json"), &format!("{{\"annotations\":{annotations}}}"));
        machine.write(&format!("{task}/init.pid"), &pid.to_string());
        machine.make_cgroup("", cgroup);
        machine.make_process(pid, 1, &[&format!("0::/{cgroup}")]);
    }

    fn resolve_on(machine: &Machine, pod: &str) -> Result<Vec<CgroupTarget>, TargetError> {
        resolve(&machine.roots(), &pod.parse().unwrap())
    }

    #[test]
    fn a_pod_is_its_cgroup_with_all_its_containers() {
        let of_systemd = format!(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
            UID.replace('-', "_")
        );
        for place in [of_systemd, format!("kubepods/burstable/pod{UID}")] {
            let machine = Machine::unified();
            for (digit, pid) in [('a', 50), ('b', 51)] {
                let cgroup = format!("{place}/cri-containerd-{}.scope", id(digit));
                add_task(&machine, digit, "shop/web-0", &cgroup, pid);
            }
            let other = format!("kubepods/podother/{}", id('c'));
            add_task(&machine, 'c', "shop/web-1", &other, 52);
            let found = resolve_on(&machine, "shop/web-0").unwrap();
            let expected = machine.roots().cgroup.join(&place);
            assert_eq!(found.len(), 1);
            assert_eq!((&found[0].path, found[0].label.as_str()), (&expected, "shop/web-0"));
        }
    }

    #[test]
    fn without_a_sure_cgroup_of_its_own_a_pod_is_its_containers() {
        for (place, file) in
            [("kubepods/podother", ""), (&format!("kubepods/pod{UID}"), "crio-conmon-x")]
        {
            let machine = Machine::unified();
            let cgroups = ['a', 'b'].map(|digit| format!("{place}/{}", id(digit)));
            add_task(&machine, 'a', "shop/web-0", &cgroups[0], 50);
            add_task(&machine, 'b', "shop/web-0", &cgroups[1], 51);
            machine.make_cgroup("", &format!("{place}/{file}"));
            let found = resolve_on(&machine, "shop/web-0").unwrap();
            let paths: Vec<_> = found.iter().map(|cgroup| cgroup.path.clone()).collect();
            assert_eq!(paths, cgroups.map(|cgroup| machine.roots().cgroup.join(cgroup)));
        }
    }

    #[test]
    fn a_pod_that_is_not_there_and_one_that_does_not_run_are_one_sentence() {
        let machine = Machine::unified();
        let error = resolve_on(&machine, "shop/web-0").unwrap_err().to_string();
        assert!(error.contains("the pod shop/web-0") && error.contains("crictl pods"), "{error}");
        add_task(&machine, 'a', "shop/web-0", "elsewhere", 50);
        let error = resolve_on(&machine, "shop/web-0").unwrap_err();
        assert!(matches!(error, TargetError::PodNotRunning { containers: 1, .. }), "{error}");
    }

    #[test]
    fn a_container_of_cri_o_names_its_pod() {
        let of = |name: &str| PodOf::by_names(&[name.to_owned()]);
        let found = of("k8s_app_web-0_shop_0b3e_2").unwrap();
        assert_eq!(found.pod, "shop/web-0".parse().unwrap());
        assert_eq!(found.uid.as_deref(), Some("0b3e"));
        assert_eq!(of("k8s_POD_web-0_shop_0b3e_0").unwrap().pod, found.pod);
        assert_eq!(of("web"), None);
        assert_eq!(of("k8s_a_b"), None);
        assert!("web".parse::<PodName>().is_err() && "a/b/c".parse::<PodName>().is_err());
    }
}
