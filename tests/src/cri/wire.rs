//! The used part of the Container Runtime Interface, version 1 (`pkg/apis/runtime/v1/api.proto` of k8s.io/cri-api), and
//! how a message travels: one call of gRPC is one stream of HTTP/2 with a length before each message.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use h2::client::SendRequest;
use http::Request;
use prost::{
    Message,
    bytes::{BufMut as _, Bytes, BytesMut},
};
use tokio::{net::UnixStream, runtime::Runtime, time::timeout};

use crate::deadline::DEADLINE;

/// A pod's sandbox: its names and what its containers share.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxConfig {
    /// Names.
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    /// Directory of the containers' logs.
    #[prost(string, tag = "3")]
    pub(super) log_directory: String,
    /// What Linux needs.
    #[prost(message, optional, tag = "8")]
    pub(super) linux: Option<LinuxPodSandboxConfig>,
}

/// A pod's names.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct PodSandboxMetadata {
    /// Name.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Unique id.
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    /// Namespace of Kubernetes.
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// A pod's cgroup and namespaces of the kernel.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LinuxPodSandboxConfig {
    /// The cgroup in which its containers' are.
    #[prost(string, tag = "1")]
    pub(super) cgroup_parent: String,
    /// Its namespaces.
    #[prost(message, optional, tag = "2")]
    pub(super) security_context: Option<LinuxSandboxSecurityContext>,
}

/// A sandbox's namespaces.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LinuxSandboxSecurityContext {
    /// Which ones.
    #[prost(message, optional, tag = "1")]
    pub(super) namespace_options: Option<NamespaceOption>,
}

/// Whose namespaces: 0 is the pod's, 1 the container's, 2 the machine's.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct NamespaceOption {
    /// Of the network.
    #[prost(int32, tag = "1")]
    pub network: i32,
    /// Of pids.
    #[prost(int32, tag = "2")]
    pub pid: i32,
}

/// Makes a pod's sandbox.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<PodSandboxConfig>,
}

/// An id as the only field: the request about one pod or container, and the answer to one that makes it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Id {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    /// Its name.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "2")]
    pub image: Option<ImageSpec>,
    /// Its program and arguments.
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    /// The files of the machine that it sees.
    #[prost(message, repeated, tag = "7")]
    pub mounts: Vec<Mount>,
    /// Its log, below the pod's directory.
    #[prost(string, tag = "11")]
    pub log_path: String,
    /// What Linux needs.
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainerConfig>,
}

/// A container's name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerMetadata {
    /// In its pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often it was started again.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ImageSpec {
    /// Its name.
    #[prost(string, tag = "1")]
    pub image: String,
}

/// A file or directory of the machine in a container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Mount {
    /// Where it is there.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// Where it is on the machine.
    #[prost(string, tag = "2")]
    pub host_path: String,
    /// Whether it cannot be written to.
    #[prost(bool, tag = "3")]
    pub readonly: bool,
    /// Whether mounts below it on the machine appear there later, and go: 0 is never, 1 is so.
    #[prost(int32, tag = "5")]
    pub propagation: i32,
}

/// What Linux needs for a container.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerConfig {
    /// Its limits.
    #[prost(message, optional, tag = "1")]
    pub resources: Option<LinuxContainerResources>,
    /// Its rights.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxContainerSecurityContext>,
}

/// The limits of a container.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LinuxContainerResources {
    /// Of memory.
    #[prost(int64, tag = "4")]
    pub memory_limit_in_bytes: i64,
}

/// The rights of a container.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainerSecurityContext {
    /// Capabilities.
    #[prost(message, optional, tag = "1")]
    pub capabilities: Option<Capability>,
    /// Namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespace_options: Option<NamespaceOption>,
    /// Whether its root cannot be written to.
    #[prost(bool, tag = "7")]
    pub readonly_rootfs: bool,
    /// Whether a program with more rights than its caller gives it none.
    #[prost(bool, tag = "11")]
    pub no_new_privs: bool,
    /// Its filter of system calls.
    #[prost(message, optional, tag = "15")]
    pub seccomp: Option<SecurityProfile>,
}

/// Capabilities by their names without `CAP_`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Capability {
    /// Those that it gets.
    #[prost(string, repeated, tag = "1")]
    pub add_capabilities: Vec<String>,
    /// Those that it loses.
    #[prost(string, repeated, tag = "2")]
    pub drop_capabilities: Vec<String>,
}

/// A profile: 0 is the runtime's own, 1 is none.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SecurityProfile {
    /// Which one.
    #[prost(int32, tag = "1")]
    pub profile_type: i32,
}

/// Makes a container.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pub(super) pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pub(super) sandbox_config: Option<PodSandboxConfig>,
}

/// How a container is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
}

/// 0 is made, 1 is running, 2 has ended.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct ContainerStatus {
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
    #[prost(int32, tag = "7")]
    pub(super) exit_code: i32,
}

/// Runs a command in a container.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ExecSyncRequest {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) cmd: Vec<String>,
    #[prost(int64, tag = "3")]
    pub(super) timeout: i64,
}

/// What a command in a container printed, and how it ended.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Executed {
    /// Its stdout.
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    /// Its stderr.
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    /// Its exit code.
    #[prost(int32, tag = "3")]
    pub exit_code: i32,
}

/// A message without fields that matter.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Nothing {}

/// A connection to a runtime.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    send: SendRequest<Bytes>,
}

/// gRPC's header of a message: a byte that says whether it is compressed, and its length in four.
const HEADER: usize = 5;

impl Connection {
    pub(super) fn to(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime for a connection")?;
        let send = runtime.block_on(async {
            let stream = UnixStream::connect(socket).await?;
            let (send, connection) = h2::client::handshake(stream).await?;
            tokio::spawn(connection);
            anyhow::Ok(send)
        })?;
        Ok(Self { runtime, send })
    }

    /// Calls a method of the runtime's service.
    pub(super) fn call<Answer: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<Answer> {
        let ask = async { timeout(*DEADLINE, ask(self.send.clone(), method, request)).await };
        let answer = self.runtime.block_on(ask).context("no answer in time");
        let answer = answer.and_then(|answer| answer).with_context(|| method.to_owned())?;
        Answer::decode(answer).with_context(|| format!("the answer to {method}"))
    }
}

async fn ask(send: SendRequest<Bytes>, method: &str, request: &impl Message) -> Result<Bytes> {
    let head = Request::post(format!("http://cri/runtime.v1.RuntimeService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(request.encoded_len().try_into()?);
    request.encode(&mut frame)?;
    let (answer, mut body) = send.ready().await?.send_request(head, false)?;
    body.send_data(frame.freeze(), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    // An answer without a body has gRPC's status in its head.
    let headers = body.trailers().await?.unwrap_or(head.headers);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("grpc-status") != Some("0") {
        bail!("{:?}: {:?}", header("grpc-status"), header("grpc-message"));
    }
    ensure!(bytes.len() >= HEADER, "an answer of {} bytes", bytes.len());
    Ok(bytes.freeze().slice(HEADER..))
}
