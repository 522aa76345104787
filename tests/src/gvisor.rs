//! gVisor sandboxes for the tests, on the platform that needs no virtualisation.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    deadline::{OwnedChild, patient, wait_until},
    procfs, refusal,
};

/// `runsc`'s options and subcommand; a command follows.
pub const DO: [&str; 5] =
    ["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups", "do"];

/// A sandbox that runs a shell's line, untraced.
#[derive(Debug)]
pub struct Sandbox {
    /// `runsc do`.
    pub runsc: OwnedChild,
    /// Pid of gVisor's kernel.
    pub kernel: u32,
    root: PathBuf,
    id: String,
}

impl Sandbox {
    /// Starts it with stdout and stderr as pipes, and waits until its kernel runs.
    pub fn start(line: &str) -> Result<Self> {
        Self::start_with(line, Stdio::null())
    }

    /// The same, but the line waits for [`Sandbox::go`].
    pub fn start_waiting(line: &str) -> Result<Self> {
        Self::start_with(&format!("read go; {line}"), Stdio::piped())
    }

    /// Lets the line begin.
    pub fn go(&mut self) -> Result<()> {
        Ok(self.runsc.take_stdin()?.write_all(b"go\n")?)
    }

    fn start_with(line: &str, stdin: Stdio) -> Result<Self> {
        let mut command = Command::new(DO[0]);
        command.args(&DO[1..]).args(["/bin/sh", "-c", line]);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let runsc = OwnedChild::spawn(&mut command, "runsc do")?;
        let starter = runsc.pid();
        let (kernel, argv) = wait_until("the sandbox", || {
            let children = procfs::children_of(starter).unwrap_or_default();
            Ok(children.into_iter().find_map(|pid| {
                let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
                line.starts_with("runsc-sandbox").then_some((pid, line))
            }))
        })?;
        let argv: Vec<&str> = argv.split('\0').filter(|word| !word.is_empty()).collect();
        let root = argv.iter().find_map(|word| word.strip_prefix("--root="));
        let root = root.context("no state folder")?.into();
        let id = (*argv.last().context("no id")?).to_owned();
        let sandbox = Self { runsc, kernel, root, id };
        wait_until("the sandbox's control socket", || Ok(sandbox.sessions().ok()))?;
        Ok(sandbox)
    }

    /// `runsc trace COMMAND … ID`.
    pub fn trace(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("runsc");
        command.arg(format!("--root={}", self.root.display())).arg("trace");
        let output = refusal::run_command(command.args(arguments).arg(&self.id))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// Runs a shell's line in its container, as `docker exec` does.
    pub fn exec(&self, line: &str) -> Result<Output> {
        let mut command = Command::new("runsc");
        command.arg(format!("--root={}", self.root.display())).args(["--platform=ptrace", "exec"]);
        refusal::run_command(command.arg(&self.id).args(["/bin/sh", "-c", line]))
    }

    /// Waits until tracer has made its trace session.
    pub fn wait_for_session(&self) -> Result<()> {
        wait_until("the trace session", || Ok((self.sessions()? == 1).then_some(())))
    }

    /// Waits until tracer also knows what runs in it: it lists that once it has made its session.
    pub fn wait_for_list(&self) -> Result<()> {
        self.wait_for_session()?;
        sleep(patient(Duration::from_secs(2)));
        Ok(())
    }

    /// Number of trace sessions in it.
    pub fn sessions(&self) -> Result<usize> {
        Ok(self.trace(&["list"])?.matches("\"Default\"").count())
    }
}

/// Options of `runsc` for sandboxes that need neither virtualisation nor a network.
const OPTIONS: [&str; 3] = ["--platform=ptrace", "--network=none", "--ignore-cgroups"];

/// A sandbox from bundles, as an engine makes it: more containers can be started in it.
#[derive(Debug)]
pub struct Pod {
    folder: TempDir,
    id: String,
    _first: OwnedChild,
}

impl Pod {
    /// Starts its first container, whose stdout `cat` reads.
    pub fn start(line: &str) -> Result<Self> {
        static PODS: AtomicU32 = AtomicU32::new(0);
        let (folder, number) = (TempDir::new()?, PODS.fetch_add(1, Ordering::Relaxed));
        let id = format!("pod{}x{number}", std::process::id());
        for name in ["state", "image"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let bundle = bundle(folder.path(), &id, &id, line)?;
        let run = arguments(folder.path(), &["run", "--bundle", &bundle, &id]).join(" ");
        let first = spawn(&format!("{run} </dev/null 2>/dev/null | cat >/dev/null"))?;
        let pod = Self { folder, id, _first: first };
        wait_until("the sandbox's control socket", || Ok(pod.sessions().ok()))?;
        Ok(pod)
    }

    /// Pid of gVisor's kernel.
    pub fn kernel(&self) -> Result<u32> {
        let pid = self.state(&self.id)?["pid"].as_u64().context("no pid")?;
        Ok(u32::try_from(pid)?)
    }

    /// Number of trace sessions in it.
    pub fn sessions(&self) -> Result<usize> {
        Ok(self.runsc(&["trace", "list", &self.id])?.matches("\"Default\"").count())
    }

    /// Waits until tracer has made its trace session, and knows what runs.
    pub fn wait_for_list(&self) -> Result<()> {
        wait_until("the trace session", || Ok((self.sessions()? == 1).then_some(())))?;
        sleep(patient(Duration::from_secs(1)));
        Ok(())
    }

    /// Starts another container in the sandbox, which runs a shell's line. Its stdout is a pipe to `reader`, a shell's line
    /// as well, its stderr is a file. Returns the reader.
    pub fn add(&self, name: &str, line: &str, reader: &str) -> Result<OwnedChild> {
        let id = format!("{}{name}", self.id);
        let bundle = bundle(self.folder.path(), &id, &self.id, line)?;
        self.runsc(&["create", "--bundle", &bundle, &id])?;
        let start = arguments(self.folder.path(), &["start", &id]).join(" ");
        let errors = self.folder.path().join("errors");
        spawn(&format!("{start} </dev/null 2>{} | ({reader})", errors.display()))
    }

    /// Waits until the program of another container has ended.
    pub fn wait_for_end(&self, name: &str) -> Result<()> {
        let id = format!("{}{name}", self.id);
        let is_stopped = || Ok((self.state(&id)?["status"] == "stopped").then_some(()));
        wait_until("the end of the container", is_stopped)
    }

    /// Saves the sandbox, which ends.
    pub fn checkpoint(&self) -> Result<()> {
        let image = format!("--image-path={}", self.folder.path().join("image").display());
        self.runsc(&["checkpoint", &image, &self.id])?;
        // The first `runsc` removes the container.
        wait_until("the end of the sandbox", || Ok(self.state(&self.id).is_err().then_some(())))
    }

    /// The command that runs the saved sandbox.
    pub fn restore(&self) -> Vec<String> {
        let image = format!("--image-path={}", self.folder.path().join("image").display());
        let bundle = self.folder.path().join(&self.id).display().to_string();
        arguments(self.folder.path(), &["restore", &image, "--bundle", &bundle, &self.id])
    }

    /// Kills the program of the first container.
    pub fn kill(&self) -> Result<()> {
        self.runsc(&["kill", &self.id, "KILL"]).map(drop)
    }

    fn state(&self, id: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.runsc(&["state", id])?)?)
    }

    fn runsc(&self, command: &[&str]) -> Result<String> {
        let all = arguments(self.folder.path(), command);
        let output = refusal::run_command(Command::new(&all[0]).args(&all[1..]))?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command:?}: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.runsc(&["delete", "--force", &self.id]);
    }
}

/// `runsc` with its options, and a command of it.
fn arguments(folder: &Path, command: &[&str]) -> Vec<String> {
    let root = format!("--root={}", folder.join("state").display());
    let options = ["runsc", &root].into_iter().chain(OPTIONS);
    options.chain(command.iter().copied()).map(str::to_owned).collect()
}

fn spawn(line: &str) -> Result<OwnedChild> {
    OwnedChild::spawn(Command::new("sh").args(["-c", line]).stdin(Stdio::null()), "sh")
}

/// Writes the bundle of a container that runs a shell's line on this machine's files.
fn bundle(folder: &Path, id: &str, sandbox: &str, line: &str) -> Result<String> {
    let kind = if id == sandbox { "sandbox" } else { "container" };
    let namespaces = ["pid", "mount", "network"].map(|name| json!({ "type": name }));
    let config = json!({
        "ociVersion": "1.0.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", line],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
        },
        "root": { "path": "/", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "annotations": {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-id": sandbox,
        },
        "linux": { "namespaces": namespaces },
    });
    let bundle = folder.join(id);
    fs::create_dir(&bundle)?;
    fs::write(bundle.join("config.json"), config.to_string())?;
    Ok(bundle.display().to_string())
}
