//! `runsc`: which one is run, and what it is told.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};
use serde::{Deserialize, Serialize};
use tracer_gvisor::points;

use crate::sys::{
    bounded,
    run_folder::{RUN, RunFolder},
};

/// Where `runsc` is looked for: only root can write there.
const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How long a call of `runsc` may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look whether it has ended.
const TURN: Duration = Duration::from_millis(5);
/// The most bytes of its output that are read: a sandbox with 10,000 processes prints 64 MB.
const MOST_OUTPUT: u64 = 256 << 20;

/// The process in which a sandbox runs: gVisor's kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxProcess {
    /// Its pid.
    pub pid: u32,
    /// Folder in which `runsc` keeps the state of its containers.
    pub root: PathBuf,
    /// Id of the sandbox, which is that of its first container.
    pub id: String,
    /// How many standard streams it was given: three, or one terminal for all.
    pub streams: usize,
}

/// Whether gVisor's kernel has this name (`comm`): it starts itself anew from `/proc/self/exe`. Other programs may have
/// it too.
#[must_use]
pub fn is_sandbox_name(comm: &str) -> bool {
    ["exe", "runsc", "runsc-sandbox"].contains(&comm)
}

impl SandboxProcess {
    /// Reads a command line: `runsc-sandbox --root=FOLDER … boot … --stdio-fds=8 … ID`.
    #[must_use]
    pub fn of(pid: u32, argv: &[String]) -> Option<Self> {
        let name = argv.first()?.rsplit('/').next()?;
        let is_boot = argv.iter().any(|argument| argument == "boot");
        if !is_boot || !is_sandbox_name(name) {
            return None;
        }
        let value = |name: &str| {
            let given = argv
                .iter()
                .find_map(|argument| argument.trim_start_matches('-').strip_prefix(name));
            given.and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
        };
        let id = argv.last()?.clone();
        let is_id = !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte))
            && !id.starts_with(['-', '.']);
        let streams = argv.iter().filter(|argument| argument.starts_with("--stdio-fds=")).count();
        Some(Self {
            pid,
            root: value("root").unwrap_or_else(|| "/var/run/runsc".to_owned()).into(),
            id: is_id.then_some(id)?,
            streams,
        })
    }

    /// Reads the command line of a process.
    #[must_use]
    pub fn at(pid: u32) -> Option<Self> {
        let line = bounded::whole(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = line.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
        let argv: Vec<String> =
            arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
        Self::of(pid, &argv)
    }

    /// Whether the command line of a process is that of this container's sandbox.
    #[must_use]
    pub fn is_of(pid: u32, container: &str) -> bool {
        Self::at(pid).is_some_and(|sandbox| sandbox.id == container)
    }

    /// Checks that only root can have written the state: `runsc` believes what it finds there.
    ///
    /// # Errors
    /// One sentence.
    pub fn ensure_of_root(&self) -> Result<(), String> {
        let is_of_root = fs::symlink_metadata(&self.root)
            .is_ok_and(|found| found.is_dir() && is_of_root(&found));
        let root = self.root.display();
        is_of_root.then_some(()).ok_or_else(|| {
            format!("its state folder {root} is not root's alone, so tracer does not use it")
        })
    }
}

/// Whether only root can write there.
fn is_of_root(found: &fs::Metadata) -> bool {
    found.uid() == 0 && found.mode() & 0o022 == 0
}

/// What a call of `runsc` gave.
struct Ran {
    pid: u32,
    /// Its standard output.
    output: String,
}

/// `runsc` of this machine.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: PathBuf,
}

impl Runtime {
    /// The first `runsc` in the system's folders.
    #[must_use]
    pub fn find() -> Option<Self> {
        let programs = PATH.iter().map(|folder| Path::new(folder).join("runsc"));
        let mut found = programs.filter(|program| {
            fs::metadata(program).is_ok_and(|file| file.is_file() && is_of_root(&file))
        });
        found.next().map(|program| Self { program })
    }

    /// Its path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The first line of `runsc --version`.
    ///
    /// # Errors
    /// One sentence.
    pub fn version(&self) -> Result<String, String> {
        let output = self.run(&["--version".into()])?.output;
        Ok(output.lines().next().unwrap_or_default().to_owned())
    }

    /// The platform of sandboxes if nothing else is said: `ptrace`, `kvm` or `systrap`.
    ///
    /// # Errors
    /// One sentence.
    pub fn platform(&self) -> Result<String, String> {
        let flags = self.run(&["flags".into()])?.output;
        let after = flags.split_once("-platform string").map_or("", |(_, after)| after);
        let quoted = after.split_once("(default \"").and_then(|(_, rest)| rest.split_once('"'));
        Ok(quoted.map_or("not known", |(platform, _)| platform).to_owned())
    }

    /// The points that tracer uses and this release lacks.
    ///
    /// # Errors
    /// One sentence.
    pub fn missing_points(&self) -> Result<Vec<String>, String> {
        Ok(points::missing(&self.run(&["trace".into(), "metadata".into()])?.output))
    }

    /// Asks `runsc` whether this process is the sandbox that it says it is.
    ///
    /// # Errors
    /// One sentence.
    pub fn ensure_is(&self, sandbox: &SandboxProcess) -> Result<(), String> {
        #[derive(Deserialize)]
        struct State {
            pid: u32,
        }
        sandbox.ensure_of_root()?;
        let output = self.of(sandbox, &["state".into(), sandbox.id.clone()])?.output;
        let state: State = serde_json::from_str(&output).map_err(|error| {
            format!("`runsc state` printed something else than a state: {error}")
        })?;
        if state.pid == sandbox.pid {
            Ok(())
        } else {
            Err(format!("`runsc state` names pid {} as this sandbox", state.pid))
        }
    }

    /// Makes a trace session. `replace`: also if there is one. Returns the pid that `runsc` had: it makes the connection
    /// on which the sandbox then sends.
    ///
    /// # Errors
    /// One sentence.
    pub fn create(
        &self,
        sandbox: &SandboxProcess,
        config: &Path,
        replace: bool,
    ) -> Result<u32, String> {
        let mut arguments = vec!["trace".to_owned(), "create".to_owned()];
        arguments.extend(replace.then(|| "--force".to_owned()));
        arguments.extend(["--config".to_owned(), config.display().to_string(), sandbox.id.clone()]);
        self.of(sandbox, &arguments).map(|ran| ran.pid)
    }

    /// Whether a trace session exists.
    ///
    /// # Errors
    /// One sentence.
    pub fn has_session(&self, sandbox: &SandboxProcess) -> Result<bool, String> {
        let output = self.of(sandbox, &["trace".into(), "list".into(), sandbox.id.clone()])?.output;
        Ok(output.contains(&format!("\"{}\"", points::SESSION_NAME)))
    }

    /// Deletes the trace session.
    ///
    /// # Errors
    /// One sentence.
    pub fn delete(&self, sandbox: &SandboxProcess) -> Result<(), String> {
        let name = points::SESSION_NAME.to_owned();
        let arguments =
            ["trace".into(), "delete".into(), "--name".into(), name, sandbox.id.clone()];
        self.of(sandbox, &arguments).map(drop)
    }

    /// What runs in the sandbox: the output of `runsc trace procfs`.
    ///
    /// # Errors
    /// One sentence.
    pub fn procfs(&self, sandbox: &SandboxProcess) -> Result<String, String> {
        let arguments = ["trace".into(), "procfs".into(), sandbox.id.clone()];
        self.of(sandbox, &arguments).map(|ran| ran.output)
    }

    fn of(&self, sandbox: &SandboxProcess, arguments: &[String]) -> Result<Ran, String> {
        let root = [format!("--root={}", sandbox.root.display())];
        let all: Vec<String> = root.into_iter().chain(arguments.iter().cloned()).collect();
        self.run(&all)
    }

    /// Runs it with an empty environment.
    fn run(&self, arguments: &[String]) -> Result<Ran, String> {
        use std::io::Read as _;

        let what = arguments.iter().find(|argument| !argument.starts_with('-'));
        let what = what.map_or("--version", String::as_str);
        let failed = |error: &dyn std::fmt::Display| format!("`runsc {what}` failed: {error}");
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let read = |pipe: Box<dyn io::Read + Send>| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                // What cannot be read is missing in the text, which is then no answer.
                let _ = pipe.take(MOST_OUTPUT).read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        };
        let output = child.stdout.take().map(|pipe| read(Box::new(pipe)));
        let errors = child.stderr.take().map(|pipe| read(Box::new(pipe)));
        let began = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if began.elapsed() < PATIENCE => std::thread::sleep(TURN),
                ended => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(match ended {
                        Err(error) => failed(&error),
                        _ => {
                            format!("`runsc {what}` gave no answer within {} s", PATIENCE.as_secs())
                        }
                    });
                }
            }
        };
        let text = |thread: Option<std::thread::JoinHandle<String>>| {
            thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        if status.success() {
            return Ok(Ran { pid: child.id(), output: text(output) });
        }
        let errors = text(errors);
        Err(failed(&errors.lines().next_back().unwrap_or("it said nothing").trim()))
    }
}

/// The folder of the socket and of the configuration, which only root can enter.
#[derive(Debug)]
pub struct Folder(RunFolder);

impl Folder {
    /// Makes a folder of this process.
    ///
    /// # Errors
    /// An error if it cannot be made.
    pub fn make() -> io::Result<Self> {
        let folder = Self(RunFolder::make("gvisor")?);
        let mut config =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.config())?;
        config.write_all(points::config(&folder.socket()).to_string().as_bytes())?;
        Ok(folder)
    }

    /// The socket that sandboxes send to.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.path().join("sink")
    }

    /// The socket that sandboxes send to whose runtime is configured so (`tracer gvisor config`). It is the same for every
    /// tracer; the first one has it.
    #[must_use]
    pub fn shared_socket() -> PathBuf {
        let path = Path::new(RUN).join("gvisor.sock");
        let is_left_behind = || {
            let socket = socket_with(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )?;
            connect(&socket, &SocketAddrUnix::new(&path)?)
        };
        if is_left_behind() == Err(Errno::CONNREFUSED) {
            // Another tracer may be faster.
            let _ = fs::remove_file(&path);
        }
        path
    }

    /// The configuration of a session that sends there.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.path().join("session.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_sandbox_is_recognised_by_its_command_line() {
        let line = "runsc-sandbox --root=/tmp/runsc-do1 --network=none boot --attached --io-fds=3 \
                    --stdio-fds=8 --stdio-fds=9 --stdio-fds=10 runsc-443844";
        let sandbox = SandboxProcess::of(7, &argv(line)).unwrap();
        assert_eq!(sandbox.root, Path::new("/tmp/runsc-do1"));
        assert_eq!((sandbox.id.as_str(), sandbox.streams), ("runsc-443844", 3));
        let shared =
            SandboxProcess::of(7, &argv("runsc-sandbox --root=/r boot --stdio-fds=8 c1")).unwrap();
        assert_eq!(shared.streams, 1);
    }

    #[test]
    fn other_processes_and_hostile_ids_are_none() {
        for line in [
            "runsc-gofer --root=/r gofer --bundle /b",
            "sh boot c1",
            "runsc-sandbox --root=/r boot --x=1",
            "runsc-sandbox boot ../x",
        ] {
            assert_eq!(SandboxProcess::of(7, &argv(line)), None, "{line}");
        }
    }
}
