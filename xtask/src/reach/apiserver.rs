//! A real kube-apiserver, Debian's 1.20, with etcd: the chart is installed into it, changed and removed, and the plugin
//! asks it. There is no kubelet, so no pod runs: the pods of the chart run in the tests beside containerd.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::{
    command::{self, say},
    workspace::{Workspace, cache},
};

use super::{chart, plugin::PLUGIN, tools::Tools};
use crate::steps::Checked;

/// Builds the programs.
const BUILD: &str = include_str!("apiserver.sh");
/// The administrator's token.
const TOKEN: &str = "tracer-reach";
/// How long the server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Objects that a cluster with a recorder has: a node without a kubelet, and two pods on it.
const CLUSTER: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
  {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}},
  {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop"},
   "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "web"}]}},
  {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tracer-x1", "namespace": "tracer",
    "labels": {"app.kubernetes.io/name": "tracer", "app.kubernetes.io/component": "recorder"}},
   "spec": {"nodeName": "n1", "containers": [{"name": "tracer", "image": "tracer"}]}}
]}"#;

/// Installs, changes and removes the chart, and asks the plugin.
pub(super) fn check(workspace: &Workspace, tools: &Tools) -> Result<Checked> {
    let programs = programs()?;
    let cluster = Cluster::start(&programs, tools)?;
    let chart = |arguments: &[&str]| {
        let mut helm = chart::helm(workspace, tools);
        command::run(helm.args(arguments).args(["--namespace", "tracer"]).args(cluster.config()))
    };
    chart(&["install", "tracer", chart::CHART, "--create-namespace"])?;
    let added = cluster.ask(&["get", "daemonset", "tracer", "-n", "tracer", "-o", CAPABILITIES])?;
    ensure!(added.contains("SYS_PTRACE") && !added.contains("privileged"), "{added}");
    // The resource of the PodMonitor is the operator's.
    let all = ["--values", chart::ALL, "--set", "metrics.podMonitor.enabled=false"];
    chart(&[&["upgrade", "tracer", chart::CHART][..], &all].concat())?;
    let list = cluster.ask(&["get", "daemonset,networkpolicy,serviceaccount", "-n", "tracer"])?;
    say(&format!("the cluster has\n{}", list.trim()));
    ask_plugin(workspace, &cluster)?;
    chart(&["uninstall", "tracer"])?;
    let left = ["get", "daemonset,networkpolicy", "-n", "tracer", "-o", "name"];
    ensure!(cluster.ask(&left)?.is_empty(), "helm uninstall leaves {}", cluster.ask(&left)?);
    Ok(Checked::Passed)
}

/// The rights of the container.
const CAPABILITIES: &str = "jsonpath={.spec.template.spec.containers[0].securityContext}";

/// The plugin finds the node of a pod and the recorder there, and asks it. That fails: there is no kubelet.
fn ask_plugin(workspace: &Workspace, cluster: &Cluster) -> Result<()> {
    let objects = cluster.folder.path().join("objects.json");
    fs::write(&objects, CLUSTER)?;
    cluster.ask(&["apply", "--filename", &objects.display().to_string()])?;
    let patch = |what: &str, status: &str| {
        let place = if what.starts_with("node") { "default" } else { "tracer" };
        let patch =
            ["patch", what, "-n", place, "--subresource=status", "--type=merge", "-p", status];
        cluster.ask(&patch).map(drop)
    };
    patch("pod/tracer-x1", r#"{"status": {"phase": "Running"}}"#)?;
    patch(
        "node/n1",
        r#"{"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 9}}}}"#,
    )?;
    // 127.0.0.1:9 is where the node's kubelet would be, so both the node and the recorder's pod were found.
    let cases = [
        (&["why", "shop/web-0"][..], ["127.0.0.1:9", "do not answer: n1"]),
        (&["history", "-n", "shop", "web-0", "--", "--lost"], ["127.0.0.1:9", "do not answer: n1"]),
        (&["why", "shop/gone"], ["127.0.0.1:9", "do not answer: n1"]),
        (&["why", "--node", "n2", "shop/gone"], ["no recorder runs", "on the node n2"]),
    ];
    for (arguments, parts) in cases {
        let mut plugin = super::command("sh", workspace);
        plugin.arg(PLUGIN).args(arguments);
        plugin.env("KUBECONFIG", &cluster.kubeconfig).env("PATH", &cluster.path);
        let output = plugin.stdin(Stdio::null()).output().context("cannot start sh")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_so = output.status.code() == Some(3) && parts.iter().all(|it| said.contains(it));
        ensure!(is_so, "{arguments:?}: not {parts:?}, but {}: {said}", output.status);
    }
    Ok(())
}

/// The folder with `kube-apiserver` and `etcd`, which are built if they are not there.
fn programs() -> Result<PathBuf> {
    let folder = cache::directory("kube-apiserver")?.join("kube-apiserver-1.20");
    if !folder.join("kube-apiserver").exists() {
        say("building Debian's kube-apiserver: 9 minutes of a processor and 2 GB of disk, once");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        command::run(Command::new("sh").args(["-c", BUILD, "apiserver.sh"]).arg(&folder))?;
    }
    Ok(folder)
}

/// A running kube-apiserver. Fields are dropped in this order.
struct Cluster {
    _server: Running,
    _etcd: Running,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    /// `PATH` with this kubectl first.
    path: String,
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start(programs: &Path, tools: &Tools) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary directory")?;
        let at = |name: &str| folder.path().join(name);
        let [store, peer, port] = [free_port()?, free_port()?, free_port()?];
        let (store, peer) =
            (format!("http://127.0.0.1:{store}"), format!("http://127.0.0.1:{peer}"));
        let mut etcd = Command::new(programs.join("etcd"));
        etcd.arg("--data-dir").arg(at("etcd")).args(["--listen-client-urls", &store]);
        etcd.args(["--advertise-client-urls", &store, "--listen-peer-urls", &peer]);
        let etcd = Running::start("etcd", &mut etcd, folder.path())?;
        let key = at("key.pem");
        let mut openssl = Command::new("openssl");
        command::run(openssl.args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
        fs::write(at("tokens"), format!("{TOKEN},admin,1,\"system:masters\"\n"))?;
        let mut server = Command::new(programs.join("kube-apiserver"));
        let file = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
        server.args([
            format!("--etcd-servers={store}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://localhost".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // Tokens of accounts are made by a controller that does not run.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            file("service-account-signing-key-file", key.clone()),
            file("service-account-key-file", key),
            file("token-auth-file", at("tokens")),
            file("cert-dir", at("certificates")),
        ]);
        let server = Running::start("kube-apiserver", &mut server, folder.path())?;
        let kubeconfig = at("kubeconfig");
        fs::write(&kubeconfig, configuration(port))?;
        let own = tools.kubectl.parent().context("kubectl has no folder")?.display().to_string();
        let path = format!("{own}:{}", std::env::var("PATH").unwrap_or_default());
        let kubectl = tools.kubectl.clone();
        let cluster = Self { _server: server, _etcd: etcd, kubectl, kubeconfig, path, folder };
        cluster.wait()?;
        Ok(cluster)
    }

    /// Waits until it answers, and has made its own objects.
    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while self.ask(&["get", "priorityclass", "system-node-critical"]).is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("kube-apiserver.log"));
                let log = log.unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                bail!("no answer:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The option that names its configuration.
    fn config(&self) -> [String; 1] {
        [format!("--kubeconfig={}", self.kubeconfig.display())]
    }

    /// What kubectl says.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        command::capture(Command::new(&self.kubectl).args(self.config()).args(arguments))
    }
}

/// A program that is killed when this is dropped.
struct Running(Child);

impl Running {
    fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().map(Self).with_context(|| format!("cannot start {name}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn configuration(port: u16) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "reach",
"clusters": [{{"name": "reach", "cluster": {{"server": "https://127.0.0.1:{port}", "insecure-skip-tls-verify": true}}}}],
"users": [{{"name": "admin", "user": {{"token": "{TOKEN}"}}}}],
"contexts": [{{"name": "reach", "context": {{"cluster": "reach", "user": "admin"}}}}]}}"#
    )
}
