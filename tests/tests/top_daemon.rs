//! `tracer top --daemon` in a real terminal, with a real recorder.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::{DEADLINE, OwnedChild, wait_until},
    recorder::{Recorder, entries, start_in},
    refusal,
    terminal::Terminal,
    tracer::binary,
};

const SIZE: (u16, u16) = (150, 30);

/// A recorder of a cgroup of its own.
struct Scene {
    folder: TempDir,
    cgroup: ScratchCgroup,
    recorder: Recorder,
}

impl Scene {
    fn start(name: &str) -> Result<Self> {
        let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create(name)?);
        let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
        Ok(Self { folder, cgroup, recorder })
    }

    fn look(&self) -> Result<Terminal> {
        Terminal::run(&top(self.folder.path())?, SIZE, self.folder.path())
    }

    /// Starts a job that waits for its stdin to end.
    fn job(&self, line: &str) -> Result<OwnedChild> {
        start_in(&self.cgroup, &["sh", "-c", line])
    }

    /// Runs a job whose reader takes `read` bytes of what it writes, and leaves the rest.
    fn lose(&self, argv: &[&str], read: usize) -> Result<()> {
        let mut child = start_in(&self.cgroup, argv)?;
        let mut stdout = child.take_stdout()?;
        stdout.read_exact(&mut vec![0; read])?;
        child.wait()?;
        drop(stdout);
        Ok(())
    }

    /// The socket of the recorder.
    fn socket(&self) -> Result<PathBuf> {
        let found = fs::metadata(self.folder.path())?;
        let name = format!("daemon-{:x}-{}.socket", found.dev(), found.ino());
        Ok(Path::new("/run/tracer").join(name))
    }
}

fn top(history: &Path) -> Result<String> {
    Ok(format!("{} top --daemon --history {}", binary()?.display(), history.display()))
}

/// The line of a command in the list.
fn has_line(screen: &str, parts: &[&str]) -> bool {
    screen.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
#[ignore = "needs root"]
fn what_runs_is_shown_with_its_bytes_and_its_place() -> Result<()> {
    let scene = Scene::start("tracer-top")?;
    let terminal = scene.look()?;
    terminal.wait_for("the recorder", |screen| {
        screen.starts_with("· recording: no output was lost") && screen.contains("--cgroup")
    })?;
    let mut job = scene.job("head -c 5000 /dev/zero; read end")?;
    let mut stdout = job.take_stdout()?;
    stdout.read_exact(&mut [0; 3_000])?;
    let place = format!("/{}: sh -c head -c", scene.cgroup.name()?);
    let screen = terminal.wait_for("the job", |screen| {
        has_line(screen, &[&place, "runs"]) && screen.contains("inside 2.0 K")
    })?;
    ensure!(screen.contains("written 4.9 K  lost 0 B"), "{screen}");
    terminal.press(&["/"])?;
    terminal.press(&["h", "e", "a", "d", "Space", "-", "c", "Enter", "Enter"])?;
    terminal.wait_for("its page", |screen| screen.contains(&format!("in /{}", "tracer-top")))?;
    terminal.press(&["Escape", "Escape", "s"])?;
    terminal.wait_for("a sentence", |screen| screen.contains("see `tracer why --help`."))?;
    drop((job.take_stdin()?, job.take_stderr()?));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest)?;
    ensure!(rest.len() == 2_000, "{}", rest.len());
    terminal.wait_for("its end", |screen| screen.contains("0 processes"))?;
    terminal.press(&["q"])?;
    terminal.wait_for("the shell", |screen| screen.contains("\nEXIT 0\n"))?;
    scene.recorder.stop()
}

#[test]
#[ignore = "needs root"]
fn a_job_that_lost_output_stays_with_its_sentence() -> Result<()> {
    let scene = Scene::start("tracer-top-lost")?;
    scene.lose(&["head", "-c", "3000", "/dev/zero"], 1_000)?;
    wait_until("the entry", || Ok(entries(scene.folder.path(), &["--lost"])?.into_iter().next()))?;
    let terminal = scene.look()?;
    let place = format!("/{}: head -c 3000", scene.cgroup.name()?);
    let screen = terminal.wait_for("the lost job", |screen| {
        has_line(screen, &["✗", &place, "unread"]) && screen.contains("lost 2.0 K")
    })?;
    ensure!(screen.starts_with("✗ ") && screen.contains("2,000 B"), "{screen}");
    terminal.press(&["n", "Enter"])?;
    terminal.wait_for("its page", |screen| {
        screen.contains("written 3,000 B · arrived 1,000 B · lost 2,000 B")
            && screen.contains("[unread]")
    })?;
    terminal.press(&["q", "q"])?;
    terminal.wait_for("the shell", |screen| screen.contains("\nEXIT 0\n"))?;
    scene.recorder.stop()
}

/// Connects, and asks for this many snapshots.
fn ask(socket: &Path, times: usize) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(*DEADLINE))?;
    // A recorder without room may be gone already.
    let _ = stream.write_all(&vec![b'?'; times]);
    Ok(stream)
}

#[test]
#[ignore = "needs root"]
fn views_that_never_read_stop_nothing() -> Result<()> {
    let scene = Scene::start("tracer-top-slow")?;
    let socket = scene.socket()?;
    ensure!(fs::metadata(&socket)?.permissions().mode() & 0o777 == 0o600);
    // Many processes, so that an answer is larger than the socket's buffer.
    let line =
        "exec 3<&0; for i in $(seq 300); do sh -c 'echo line; read end <&3' sh $i & done; wait";
    let mut crowd = scene.job(line)?;
    let silent: Vec<UnixStream> = (0..4).map(|_| ask(&socket, 1_000)).collect::<Result<_>>()?;
    wait_until("no room", || {
        let mut answer = [9; 4];
        ask(&socket, 1)?.read_exact(&mut answer)?;
        Ok((answer == [0; 4]).then_some(()))
    })?;
    scene.lose(&["tail", "-c", "+1", "/etc/passwd"], 10)?;
    let found = || Ok(entries(scene.folder.path(), &["--name", "^tail$"])?.into_iter().next());
    ensure!(wait_until("the entry", found)?["has_loss"] == true);
    // Those that do not read are given up, and there is room again.
    let terminal = wait_until("room", || {
        let mut answer = [0; 4];
        ask(&socket, 1)?.read_exact(&mut answer)?;
        Ok((answer != [0; 4]).then_some(()))
    })
    .and_then(|()| scene.look())?;
    terminal.wait_for("the list", |screen| screen.contains("301 running"))?;
    drop((crowd.take_stdin()?, silent));
    crowd.wait()?;
    scene.recorder.stop()?;
    ensure!(!socket.exists(), "the socket is left");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn another_user_is_refused() -> Result<()> {
    let scene = Scene::start("tracer-top-user")?;
    let user = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        refusal::run_command(command.env("TERM", "xterm").args(arguments))
    };
    let history = scene.folder.path().to_str().context("no text")?;
    let refused = user(&binary()?, &["top", "--daemon", "--history", history])?;
    let sentence = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(3) && sentence.lines().count() == 1, "{refused:?}");
    ensure!(sentence.contains("only root can look"), "{sentence}");
    // One that gets as far as the socket, as with an fd of its folder, gets nothing.
    let socket = scene.socket()?;
    let (outer, mode) = (TempDir::new()?, fs::Permissions::from_mode);
    let link = outer.path().join("socket");
    fs::set_permissions(outer.path(), mode(0o755))?;
    fs::hard_link(&socket, &link).or_else(|_| mounted(&socket, &link))?;
    fs::set_permissions(&socket, mode(0o666))?;
    let ask = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(10)\n\
               s.connect(sys.argv[1])\ns.sendall(b'?')\nprint(len(s.recv(9)))";
    let python = Path::new("/usr/bin/python3");
    let of_root = Command::new(python).args(["-c", ask]).arg(&link).output()?;
    let of_other = user(python, &["-c", ask, link.to_str().context("no text")?])?;
    let _ = Command::new("umount").arg(&link).output();
    ensure!(String::from_utf8_lossy(&of_root.stdout).trim() == "9", "{of_root:?}");
    let said = String::from_utf8_lossy(&of_other.stdout);
    let error = String::from_utf8_lossy(&of_other.stderr);
    let is_closed = said.trim() == "0" || error.contains("Broken pipe") || error.contains("reset");
    ensure!(is_closed, "{of_other:?}");
    scene.recorder.stop()
}

/// Makes the socket reachable where another user can enter.
fn mounted(socket: &Path, link: &Path) -> std::io::Result<()> {
    fs::write(link, b"")?;
    Command::new("mount").arg("--bind").args([socket, link]).output().map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_recorder_that_is_killed_leaves_a_readable_view() -> Result<()> {
    let Scene { folder, cgroup, recorder } = Scene::start("tracer-top-killed")?;
    let mut job = start_in(&cgroup, &["sh", "-c", "echo hello >&2; read end"])?;
    let hello = &mut [0; 6];
    job.take_stderr()?.read_exact(hello)?;
    let terminal = Terminal::run(&top(folder.path())?, SIZE, folder.path())?;
    terminal.wait_for("the job", |screen| has_line(screen, &["runs", "sh -c echo"]))?;
    recorder.kill()?;
    let screen = terminal.wait_for("the end", |screen| screen.contains("recorder has ended"))?;
    ensure!(has_line(&screen, &["sh -c echo"]) && screen.contains("ended after"), "{screen}");
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    terminal.wait_for("the next one", |screen| {
        has_line(screen, &["runs", "sh -c echo"]) && screen.contains("· recording")
    })?;
    recorder.kill()?;
    terminal.wait_for("the end", |screen| screen.contains("recorder has ended"))?;
    terminal.press(&["q"])?;
    terminal.wait_for("the shell", |screen| screen.contains("\nEXIT 0\n"))?;
    drop(job.take_stdin()?);
    job.wait()?;
    let refused = Terminal::run(&top(folder.path())?, (180, 24), folder.path())?;
    let screen = refused.wait_for("a sentence", |screen| screen.contains("\nEXIT 3\n"))?;
    ensure!(screen.contains("no `tracer daemon` runs that records to"), "{screen}");
    Ok(())
}
