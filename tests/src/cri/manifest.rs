//! The DaemonSet of `deploy/kubernetes/tracer.yaml` as a container of containerd: what the kubelet asks for when it runs the
//! pod. What the test does not know, it refuses, so that the chart has nothing that is not tried.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::CapabilitySet;
use serde::Deserialize;
use serde_norway::Value;

use super::{
    Capability, ContainerConfig, LinuxContainerConfig, LinuxContainerResources,
    LinuxContainerSecurityContext, Mount, NamespaceOption, OF_MACHINE, SecurityProfile,
    TRACER_IMAGE, container,
};

/// The used part of a pod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(rename = "hostPID")]
    host_pid: bool,
    containers: Vec<ContainerSpec>,
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContainerSpec {
    name: String,
    #[serde(rename = "image")]
    _image: String,
    #[serde(rename = "imagePullPolicy")]
    _image_pull_policy: String,
    command: Vec<String>,
    args: Vec<String>,
    security_context: SecurityContext,
    resources: Resources,
    volume_mounts: Vec<VolumeMount>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecurityContext {
    run_as_user: u32,
    run_as_group: u32,
    allow_privilege_escalation: bool,
    read_only_root_filesystem: bool,
    capabilities: Capabilities,
    seccomp_profile: SeccompProfile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capabilities {
    add: Vec<String>,
    drop: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeccompProfile {
    r#type: String,
}

#[derive(Debug, Deserialize)]
struct Resources {
    limits: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VolumeMount {
    name: String,
    mount_path: String,
    #[serde(default)]
    read_only: bool,
    mount_propagation: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Volume {
    name: String,
    host_path: Option<HostPath>,
    #[serde(rename = "emptyDir")]
    _empty_dir: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct HostPath {
    path: String,
    r#type: String,
}

/// The recorder's container, with the manifest's rights and mounts. `folder` stands for the node's disk: the history is in
/// [`history`] of it. `state` is containerd's directory.
pub fn recorder(folder: &Path, state: &Path) -> Result<ContainerConfig> {
    let pod = pod()?;
    ensure!(pod.host_pid, "without hostPID no process is known");
    let [spec] = pod.containers.as_slice() else { bail!("{} containers", pod.containers.len()) };
    let words: Vec<&str> = spec.command.iter().chain(&spec.args).map(String::as_str).collect();
    let mounts = spec.volume_mounts.iter().map(|mount| {
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.with_context(|| format!("no volume {}", mount.name))?;
        Ok(Mount {
            container_path: placed(&mount.mount_path, state),
            host_path: source(volume, folder, state)?,
            readonly: mount.read_only,
            propagation: i32::from(mount.mount_propagation.as_deref() == Some("HostToContainer")),
        })
    });
    Ok(ContainerConfig {
        mounts: mounts.collect::<Result<_>>()?,
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources {
                memory_limit_in_bytes: mebibytes(&spec.resources)? << 20,
            }),
            security_context: Some(rights(&spec.security_context)?),
        }),
        ..container(&spec.name, TRACER_IMAGE, &words)
    })
}

/// The folder of the history.
pub fn history(folder: &Path) -> PathBuf {
    folder.join("var/lib/tracer")
}

fn pod() -> Result<PodSpec> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/tracer.yaml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut documents = serde_norway::Deserializer::from_str(&text).map(Value::deserialize);
    let daemon_set = documents
        .find_map(|document| document.ok().filter(|document| document["kind"] == "DaemonSet"));
    let daemon_set = daemon_set.context("no DaemonSet")?;
    Ok(serde_norway::from_value(daemon_set["spec"]["template"]["spec"].clone())?)
}

fn rights(context: &SecurityContext) -> Result<LinuxContainerSecurityContext> {
    let Capabilities { add, drop } = &context.capabilities;
    ensure!(context.run_as_user == 0 && context.run_as_group == 0, "{context:?}");
    ensure!(context.seccomp_profile.r#type == "RuntimeDefault", "{context:?}");
    Ok(LinuxContainerSecurityContext {
        capabilities: Some(Capability {
            add_capabilities: add.iter().filter(|name| is_given(name)).cloned().collect(),
            drop_capabilities: drop.clone(),
        }),
        namespace_options: Some(NamespaceOption { network: OF_MACHINE, pid: OF_MACHINE }),
        readonly_rootfs: context.read_only_root_filesystem,
        no_new_privs: !context.allow_privilege_escalation,
        seccomp: Some(SecurityProfile { profile_type: 0 }),
    })
}

/// Whether this process can give a capability away. Some virtual machines have no `CAP_SYS_RESOURCE`, which only kernels
/// before 5.11 ask for.
fn is_given(name: &str) -> bool {
    name != "SYS_RESOURCE"
        || rustix::thread::capability_is_in_bounding_set(CapabilitySet::SYS_RESOURCE)
            .unwrap_or(false)
}

fn mebibytes(resources: &Resources) -> Result<i64> {
    let memory = resources.limits.get("memory").context("no limit of memory")?;
    let number = memory.strip_suffix("Mi").with_context(|| memory.clone())?;
    Ok(number.parse()?)
}

/// The directory of the machine for a volume, which is made as the kubelet makes it.
fn source(volume: &Volume, folder: &Path, state: &Path) -> Result<String> {
    let Some(HostPath { path, r#type }) = &volume.host_path else {
        let path = folder.join("empty").join(&volume.name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        return Ok(path.display().to_string());
    };
    match r#type.as_str() {
        "DirectoryOrCreate" => {
            let path = folder.join(path.trim_start_matches('/'));
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            Ok(path.display().to_string())
        }
        "Directory" => {
            let path = placed(path, state);
            ensure!(Path::new(&path).is_dir(), "{path} is no directory");
            Ok(path)
        }
        other => bail!("a volume of type {other}"),
    }
}

/// The test's containerd can have another state than the usual one.
fn placed(path: &str, state: &Path) -> String {
    if path == "/run/containerd" { state.display().to_string() } else { path.to_owned() }
}
