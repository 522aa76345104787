//! Pods of a containerd that a test starts, made as the kubelet makes them: by its Container Runtime Interface.

mod image;
pub mod manifest;
mod wire;

use std::{
    fs,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

pub use self::wire::{
    Capability, ContainerConfig, Executed, LinuxContainerConfig, LinuxContainerResources,
    LinuxContainerSecurityContext, Mount, NamespaceOption, SecurityProfile,
};
use self::wire::{
    Connection, ContainerMetadata, ContainerStatusResponse, CreateContainerRequest,
    ExecSyncRequest, Id, ImageSpec, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Nothing,
    PodSandboxConfig, PodSandboxMetadata, RunPodSandboxRequest,
};
use crate::{
    deadline::{OwnedChild, describe, wait_until},
    privilege,
    refusal::run_command,
    tracer::binary,
};

/// The image of the pods and of their sandboxes: a static busybox.
pub const IMAGE: &str = "tracer.test/busybox:1";
/// The image with tracer, as `deploy/image` makes it.
pub const TRACER_IMAGE: &str = "tracer.test/tracer:1";
/// Directories in which a containerd has its state: the usual one, else that of k3s.
const STATES: [&str; 2] = ["/run/containerd", "/run/k3s/containerd"];
/// The namespace of the machine itself ([`NamespaceOption`]).
pub const OF_MACHINE: i32 = 2;
/// The state of a container that has ended.
const EXITED: i32 = 2;

/// A containerd of a test. Dropping it removes its pods and all that it made.
#[derive(Debug)]
pub struct Containerd {
    connection: Connection,
    /// Ended by [`Drop`], before the folder is removed.
    daemon: OwnedChild,
    state: &'static Path,
    folder: TempDir,
}

impl Containerd {
    /// Starts it and gives it [`IMAGE`].
    pub fn start() -> Result<Self> {
        privilege::require_root()?;
        let folder = TempDir::new()?;
        let is_free =
            |state: &&str| UnixStream::connect(Path::new(state).join("containerd.sock")).is_err();
        let state = STATES.into_iter().find(is_free).context("two containerds run already")?;
        let (socket, config) = (folder.path().join("socket"), folder.path().join("config.toml"));
        fs::write(&config, configuration(folder.path(), state))?;
        let log = fs::File::create(folder.path().join("log"))?;
        // systemd makes all mounts shared, and containers with mounts of the machine need that.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "shared", "containerd"]);
        command.arg("--config").arg(&config).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let daemon = OwnedChild::spawn(&mut command, "containerd")?;
        let connection = wait_until("containerd", || {
            let connection = Connection::to(&socket).ok();
            Ok(connection.filter(|it| it.call::<Nothing>("Version", &Nothing {}).is_ok()))
        });
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let connection = connection.with_context(log)?;
        let started = Self { connection, daemon, state: Path::new(state), folder };
        started.import(IMAGE, &["/bin/sleep", "2147483647"], image::busybox)?;
        Ok(started)
    }

    /// Its directory with the state of its containers.
    pub const fn state(&self) -> &'static Path {
        self.state
    }

    /// Gives it [`TRACER_IMAGE`].
    pub fn import_tracer(&self) -> Result<()> {
        let binary = binary()?;
        self.import(TRACER_IMAGE, &["/usr/bin/tracer"], |root| image::tracer(root, &binary))
    }

    fn import(
        &self,
        name: &str,
        command: &[&str],
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let archive = image::archive(self.folder.path(), name, command, fill)?;
        let archive = archive.display().to_string();
        self.ctr(&[
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--snapshotter",
            "native",
            &archive,
        ])
    }

    /// Runs containerd's own client, which must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.folder.path().join("socket")).args(arguments);
        let output = run_command(&mut ctr)?;
        let (said, status) = (String::from_utf8_lossy(&output.stderr), describe(output.status));
        ensure!(output.status.success(), "ctr {}: {status}, {said}", arguments.join(" "));
        Ok(())
    }

    /// Makes a pod without containers, in the machine's network.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod<'_>> {
        self.pod_with(namespace, name, NamespaceOption { network: OF_MACHINE, pid: 0 })
    }

    /// The same with these namespaces.
    pub fn pod_with(
        &self,
        namespace: &str,
        name: &str,
        namespaces: NamespaceOption,
    ) -> Result<Pod<'_>> {
        let uid = format!("tracer-test-{}-{namespace}-{name}", std::process::id());
        let cgroup = format!("/kubepods/besteffort/pod{uid}");
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid,
                namespace: namespace.to_owned(),
            }),
            log_directory: self.folder.path().join("logs").join(name).display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup.clone(),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces),
                }),
            }),
        };
        fs::create_dir_all(&config.log_directory)?;
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let Id { id } = self.connection.call("RunPodSandbox", &request)?;
        Ok(Pod { containerd: self, config, id, cgroup })
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.daemon.signal(Signal::TERM);
        let _ = self.daemon.wait();
        for part in ["io.containerd.runtime.v2.task", "io.containerd.grpc.v1.cri"] {
            let _ = fs::remove_dir_all(self.state.join(part).join("k8s.io"));
            let _ = fs::remove_dir(self.state.join(part));
        }
    }
}

/// A configuration that works in virtual machines and containers: without overlayfs, networks, and a lower score for the
/// kernel's killer of processes.
fn configuration(folder: &Path, state: &str) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{folder}/socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// A pod, removed with its containers when dropped.
#[derive(Debug)]
pub struct Pod<'a> {
    containerd: &'a Containerd,
    config: PodSandboxConfig,
    id: String,
    cgroup: String,
}

impl Pod<'_> {
    /// `NAMESPACE/NAME`.
    pub fn name(&self) -> String {
        let metadata = self.config.metadata.as_ref();
        metadata.map(|it| format!("{}/{}", it.namespace, it.name)).unwrap_or_default()
    }

    /// The id of its sandbox, which is a container.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts a shell's line as a container.
    pub fn start(&self, name: &str, line: &str) -> Result<Container<'_>> {
        self.start_container(container(name, IMAGE, &["sh", "-c", line]))
    }

    /// Runs a shell's line as a container that ends with this exit code.
    pub fn run(&self, name: &str, line: &str, code: i32) -> Result<()> {
        let found = self.start(name, line)?.wait()?;
        ensure!(found == code, "{name} ended with {found}");
        Ok(())
    }

    /// Starts a container.
    pub fn start_container(&self, mut config: ContainerConfig) -> Result<Container<'_>> {
        let metadata = config.metadata.as_ref().context("a container without a name")?;
        config.log_path = format!("{}-{}.log", metadata.name, metadata.attempt);
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let Id { id } = self.containerd.connection.call("CreateContainer", &request)?;
        let container = Container { containerd: self.containerd, id };
        self.containerd.connection.call::<Nothing>("StartContainer", &container.request())?;
        Ok(container)
    }

    /// The kubelet's log of a container.
    pub fn log(&self, name: &str) -> Result<String> {
        let path = Path::new(&self.config.log_directory).join(format!("{name}-0.log"));
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let request = Id { id: self.id.clone() };
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let done = self.containerd.connection.call::<Nothing>(method, &request);
            if let Err(error) = done {
                eprintln!("{method} of {}: {error:#}", self.name());
            }
        }
        remove_cgroup(&self.cgroup);
    }
}

/// Removes a pod's cgroup and those above it, which the kubelet does, in all hierarchies. Those with other pods stay.
fn remove_cgroup(path: &str) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1).map(Path::new));
    for mount in points.filter(|point| point.starts_with("/sys/fs/cgroup")) {
        let places = Path::new(path).ancestors().filter(|above| *above != Path::new("/"));
        for place in places {
            let _ = fs::remove_dir(mount.join(place.strip_prefix("/").unwrap_or(place)));
        }
    }
}

/// A container with a name that runs a program of an image.
pub fn container(name: &str, image: &str, command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(ImageSpec { image: image.to_owned() }),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        ..ContainerConfig::default()
    }
}

/// A container of a pod.
#[derive(Debug)]
pub struct Container<'a> {
    containerd: &'a Containerd,
    id: String,
}

impl Container<'_> {
    fn request(&self) -> Id {
        Id { id: self.id.clone() }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until it has ended, and returns its exit code.
    pub fn wait(&self) -> Result<i32> {
        wait_until("the container's end", || {
            let answer: ContainerStatusResponse =
                self.containerd.connection.call("ContainerStatus", &self.request())?;
            let status = answer.status.context("a container without a status")?;
            Ok((status.state == EXITED).then_some(status.exit_code))
        })
    }

    /// Runs a command in it, as `kubectl exec` does.
    pub fn exec(&self, command: &[&str]) -> Result<Executed> {
        let cmd = command.iter().map(|&word| word.to_owned()).collect();
        let request = ExecSyncRequest { container_id: self.id.clone(), cmd, timeout: 20 };
        self.containerd.connection.call("ExecSync", &request)
    }
}
