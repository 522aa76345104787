//! SIGPIPE and end of file occur at the same time as without tracer, because tracer never holds an end of
//! a traced pipe open.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
};
use serde_json::Value;
use tracer_tests::{
    deadline::{OwnedChild, describe, wait_until},
    gate::Gate,
    privilege::require_root,
    procfs::{commands_of, object_of},
    tracer::{Tracer, binary, check_status},
};

/// Writes, closes all its streams, and lives until the gate opens.
const CLOSES_STREAMS: &str =
    "echo out; echo err >&2; exec 9<\"$1\" <&- >&- 2>&- 3>&-; read -r go <&9";

/// Checks that tracer has none of these pipes open.
fn holds_none(tracer: u32, pipes: &[String]) -> Result<()> {
    for entry in fs::read_dir(format!("/proc/{tracer}/fd"))? {
        let entry = entry?;
        // The link is gone if the fd was closed meanwhile.
        let Ok(link) = fs::read_link(entry.path()) else { continue };
        let link = link.display().to_string();
        ensure!(!pipes.contains(&link), "tracer holds {link} as {}", entry.path().display());
    }
    Ok(())
}

/// A pipe; the harness keeps one end, which is non-blocking.
struct Pipe {
    end: Option<OwnedFd>,
    peer: File,
}

impl Pipe {
    fn new(end: OwnedFd, peer: OwnedFd) -> Result<Self> {
        fcntl_setfl(&peer, fcntl_getfl(&peer)? | OFlags::NONBLOCK)?;
        Ok(Self { end: Some(end), peer: peer.into() })
    }

    /// A pipe for a process to write to.
    fn output() -> Result<Self> {
        let (peer, end) = pipe_with(PipeFlags::CLOEXEC)?;
        Self::new(end, peer)
    }

    /// A pipe for a process to read from.
    fn input() -> Result<Self> {
        let (end, peer) = pipe_with(PipeFlags::CLOEXEC)?;
        Self::new(end, peer)
    }

    /// Its name in `/proc`.
    fn name(&self) -> Result<String> {
        object_of(self.peer.as_raw_fd()).context("the pipe is not in /proc")
    }

    fn end(&mut self) -> Result<OwnedFd> {
        self.end.take().context("the end was already taken")
    }

    /// Waits for exactly these bytes and the end of file.
    fn ends_with(&mut self, what: &str, expected: &[u8]) -> Result<()> {
        let mut received = Vec::new();
        wait_until(&format!("the end of {what}"), || match self.peer.read_to_end(&mut received) {
            Ok(_) => Ok(Some(())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        ensure!(received == expected, "{what}: {:?}", String::from_utf8_lossy(&received));
        Ok(())
    }

    /// Waits until a write fails with `EPIPE`.
    fn breaks(&mut self) -> Result<()> {
        wait_until("the last reader to be gone", || match self.peer.write(b"x") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Some(())),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(None),
        })
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A target closes its pipes while target and tracer live on; the other ends notice at once.
#[test]
#[ignore = "needs root"]
fn end_of_file_comes_when_a_target_closes_its_streams() -> Result<()> {
    let (mut start, mut stop, folder) = (Gate::create()?, Gate::create()?, tempfile::tempdir()?);
    let (mut input, mut out, mut err) = (Pipe::input()?, Pipe::output()?, Pipe::output()?);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("read -r go <\"$0\"; {CLOSES_STREAMS}")]);
    shell.arg(start.path()).arg(stop.path());
    shell.stdin(input.end()?).stdout(out.end()?).stderr(err.end()?);
    let mut child = OwnedChild::spawn(&mut shell, "sh")?;
    drop(shell);
    let pipes = [input.name()?, out.name()?, err.name()?];
    let tracer = Tracer::on_pid(child.pid())
        .args(["--follow-readers", "3", "--capture"])
        .arg(folder.path().join("out"))
        .start()?;
    holds_none(tracer.pid(), &pipes)?;
    start.open()?;
    out.ends_with("stdout", b"out\n")?;
    err.ends_with("stderr", b"err\n")?;
    input.breaks()?;
    holds_none(tracer.pid(), &pipes)?;
    ensure!(is_alive(child.pid()) && is_alive(tracer.pid()), "target or tracer has ended");
    stop.open()?;
    child.wait()?;
    tracer.finish()?;
    Ok(())
}

/// The same for a command of tracer. Tracer itself has inherited the command's pipes, one of them also as
/// fd 3.
#[test]
#[ignore = "needs root"]
fn end_of_file_comes_when_a_command_closes_its_streams() -> Result<()> {
    require_root()?;
    let (folder, mut stop) = (tempfile::tempdir()?, Gate::create()?);
    let (mut input, mut out, mut err) = (Pipe::input()?, Pipe::output()?, Pipe::output()?);
    let mut shell = Command::new("sh");
    let line = "exec \"$0\" -q -o \"$2\" -- sh -c \"$3\" sh \"$1\" 3>&1";
    shell.args(["-c", line]).arg(binary()?).arg(stop.path());
    shell.arg(folder.path().join("report")).arg(CLOSES_STREAMS);
    shell.stdin(input.end()?).stdout(out.end()?).stderr(err.end()?);
    let mut tracer = OwnedChild::spawn(&mut shell, "tracer")?;
    drop(shell);
    out.ends_with("stdout", b"out\n")?;
    err.ends_with("stderr", b"err\n")?;
    input.breaks()?;
    let commands = commands_of(tracer.pid())?;
    ensure!(
        commands.len() == 1 && is_alive(tracer.pid()),
        "command or tracer has ended: {commands:?}"
    );
    stop.open()?;
    let status = tracer.wait()?;
    check_status(status)
}

/// Reads the first line of `yes`.
fn first_line(out: &mut Pipe) -> Result<()> {
    let mut first = [0; 2];
    wait_until("the first line", || match out.peer.read(&mut first) {
        Ok(2) => Ok(Some(())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => anyhow::bail!("{other:?}"),
    })?;
    ensure!(first == *b"y\n", "{first:?}");
    Ok(())
}

/// Starts `yes` with a pipe that is closed after the first line.
fn yes(command: &mut Command) -> Result<OwnedChild> {
    let mut out = Pipe::output()?;
    command.stdin(Stdio::null()).stdout(out.end()?).stderr(Stdio::null());
    let child = OwnedChild::spawn(command, "yes")?;
    command.stdout(Stdio::null());
    first_line(&mut out)?;
    Ok(child)
}

/// SIGPIPE kills the writer, both as a target and as tracer's command.
#[test]
#[ignore = "needs root"]
fn sigpipe_kills_a_writer_whose_reader_is_gone() -> Result<()> {
    let (folder, mut start) = (tempfile::tempdir()?, Gate::create()?);
    let mut shell = start.command(["yes"]);
    let mut out = Pipe::output()?;
    shell.stdout(out.end()?);
    let mut child = OwnedChild::spawn(&mut shell, "yes")?;
    drop(shell);
    let tracer = Tracer::on_pid(child.pid()).start()?;
    start.open()?;
    wait_until("the first bytes", || Ok(out.peer.read(&mut [0; 2]).is_ok().then_some(())))?;
    drop(out);
    let status = child.wait()?;
    ensure!(status.signal() == Some(libc::SIGPIPE), "{}", describe(status));
    tracer.finish()?;

    let report = folder.path().join("report");
    let mut command = Command::new(binary()?);
    command.args(["-q", "--format", "json", "-o"]).arg(&report).args(["--", "yes"]);
    let status = yes(&mut command)?.wait()?;
    check_status(status)?;
    let report: Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    let signal = report.pointer("/processes/0/exit/signal").and_then(Value::as_i64);
    ensure!(signal == Some(libc::SIGPIPE.into()), "{report}");
    Ok(())
}

/// In `yes | tracer -- head -n 1` tracer does not keep `yes` alive.
#[test]
#[ignore = "needs root"]
fn a_traced_part_of_a_pipeline_lets_its_neighbours_end() -> Result<()> {
    require_root()?;
    let (folder, mut stop) = (tempfile::tempdir()?, Gate::create()?);
    // The command closes its stdin after one line and lives on; `yes` must end anyway.
    let line = "yes | \"$0\" -q -o \"$1\" -- sh -c 'head -n 1; exec 9<\"$0\" <&- >&-; read -r go <&9' \"$2\"; \
                echo \"${PIPESTATUS[*]}\" >&2";
    let (mut out, mut err) = (Pipe::output()?, Pipe::output()?);
    let mut bash = Command::new("bash");
    bash.args(["-c", line]).arg(binary()?).arg(folder.path().join("report")).arg(stop.path());
    bash.stdin(Stdio::null()).stdout(out.end()?).stderr(err.end()?);
    let mut shell = OwnedChild::spawn(&mut bash, "bash")?;
    drop(bash);
    // The first line shows that `yes` has started.
    first_line(&mut out)?;
    wait_until("`yes` to be gone", || {
        let is_yes = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.contains("(yes)") && !stat.contains("(yes) Z "))
        };
        Ok((!commands_of(shell.pid())?.iter().any(is_yes)).then_some(()))
    })?;
    let is_tracer = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).ok() == binary().ok();
    ensure!(commands_of(shell.pid())?.iter().any(is_tracer), "tracer has ended");
    stop.open()?;
    shell.wait()?;
    out.ends_with("stdout", b"")?;
    let mut statuses = String::new();
    err.peer.read_to_string(&mut statuses)?;
    ensure!(["141 0\n", "141 1\n"].contains(&statuses.as_str()), "{statuses}");
    Ok(())
}
