//! Running processes, by a regular expression for their names or their command lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    str::FromStr,
    time::{Duration, Instant},
};

use procfs::process::{StatFlags, all_processes_with_root};
use regex::Regex;
use serde::{Deserialize, Serialize};
use tracer_common::limits;
use tracer_core::text::escape;

use super::{
    PinnedProcess, Roots, TargetError,
    process::{has_room_for, pin},
};
use crate::{
    gvisor::{SandboxProcess, is_sandbox_name},
    sys::{
        bounded,
        helper::{Helper, Kept, encode},
        privileges::Rights,
        processes::comm,
        user_file::answer,
    },
};

/// How long the helper may take to read the command lines of all processes.
const PATIENCE: Duration = Duration::from_secs(2);

/// A regular expression for the names of processes, as of `pgrep`: it need not match the whole name.
#[derive(Clone, Debug)]
pub struct NamePattern {
    regex: Regex,
    /// Whether it is for the whole command line, with a space between arguments.
    pub(super) is_full: bool,
}

impl NamePattern {
    /// The same, for whole command lines or not.
    #[must_use]
    pub fn full(self, is_full: bool) -> Self {
        Self { is_full, ..self }
    }
}

impl FromStr for NamePattern {
    type Err = regex::Error;

    fn from_str(text: &str) -> Result<Self, regex::Error> {
        Ok(Self { regex: Regex::new(text)?, is_full: false })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.regex.as_str())?;
        formatter.write_str(if self.is_full { " --full" } else { "" })
    }
}

/// A helper process that reads command lines: a process can lock its memory, and reading its command line then blocks.
#[derive(Debug)]
pub struct CommandLines(Helper);

impl CommandLines {
    /// Forks the helper. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork() -> io::Result<Self> {
        Helper::fork(Kept::Nothing, |socket| {
            Rights::Look.take()?;
            serve(socket)
        })
        .map(Self)
    }

    /// Pids of all processes whose command lines match.
    fn matching(&mut self, pattern: &NamePattern) -> io::Result<BTreeSet<u32>> {
        self.ask(&Asked::Matching(pattern.regex.as_str().to_owned()))
    }

    fn ask(&mut self, asked: &Asked) -> io::Result<BTreeSet<u32>> {
        self.0.socket.write_all(&encode(asked)?)?;
        answer(&self.0.socket, Instant::now() + PATIENCE)
    }
}

/// What the helper is asked for: pids.
#[derive(Debug, Serialize, Deserialize)]
enum Asked {
    /// Of all processes whose command lines match this pattern.
    Matching(String),
    /// The first of these processes whose command line is that of this container's sandbox.
    Sandbox(Vec<u32>, String),
}

/// The process among these that is gVisor's kernel of a container, as far as its command line tells. Only those that have
/// the name of one are asked for it: other programs of the container can lock their memory. One that has the name can do
/// so too, and then none is found.
pub(crate) fn sandbox_among(
    lines: &mut Option<CommandLines>,
    pids: &[u32],
    container: &str,
) -> Option<u32> {
    let is_named = |pid: &u32| comm(*pid).is_some_and(|comm| is_sandbox_name(&comm));
    let named: Vec<u32> = pids.iter().copied().filter(is_named).collect();
    let lines = lines.as_mut().filter(|_| !named.is_empty())?;
    let found = lines.ask(&Asked::Sandbox(named, container.to_owned())).inspect_err(|error| {
        let container = escape(container);
        tracing::warn!(
            "cannot tell whether the container {container} is a sandbox of gVisor: {error}"
        );
    });
    found.ok()?.first().copied()
}

/// What the helper does: a question on each line, and a list of pids for each.
fn serve(socket: UnixStream) -> io::Result<()> {
    let questions = BufReader::new(socket.try_clone()?).lines();
    let mut socket = socket;
    for question in questions {
        let pids = match serde_json::from_str(&question?)? {
            Asked::Matching(pattern) => matching(&pattern)?,
            Asked::Sandbox(pids, container) => pids
                .into_iter()
                .find(|pid| SandboxProcess::is_of(*pid, &container))
                .into_iter()
                .collect(),
        };
        socket.write_all(&encode(&pids)?)?;
    }
    Ok(())
}

fn matching(pattern: &str) -> io::Result<BTreeSet<u32>> {
    let regex = Regex::new(pattern).map_err(io::Error::other)?;
    let pids = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| command_line(*pid).is_some_and(|line| regex.is_match(&line)));
    Ok(pids.collect())
}

/// The beginning of a command line, with spaces between the arguments.
fn command_line(pid: u32) -> Option<String> {
    let read = bounded::beginning(format!("/proc/{pid}/cmdline"), limits::ARGV).ok()?;
    let text = String::from_utf8_lossy(&read.bytes).replace('\0', " ");
    Some(text.trim_end().to_owned())
}

/// A process that runs now.
struct Seen {
    parent: i32,
    comm: String,
    /// Whether it makes system calls: it is neither a kernel thread nor a zombie.
    is_program: bool,
}

/// Pins every running process whose name (`comm`, at most 15 bytes) or command line matches. tracer, its helper
/// processes, and the processes that tracer was started from never match.
pub(super) fn resolve(
    roots: &Roots,
    pattern: &NamePattern,
    lines: &mut Option<CommandLines>,
) -> Result<Vec<PinnedProcess>, TargetError> {
    let mut by_line = || -> Result<Option<BTreeSet<u32>>, TargetError> {
        let Some(lines) = lines.as_mut().filter(|_| pattern.is_full) else { return Ok(None) };
        let matching = lines.matching(pattern);
        matching.map(Some).map_err(|source| TargetError::CommandLinesUnread { source })
    };
    let before = by_line()?;
    let is_match = |known: &Option<BTreeSet<u32>>, pid: u32, comm: &str| match known {
        Some(pids) => pids.contains(&pid),
        None => pattern.regex.is_match(comm),
    };
    let matching =
        strangers(roots)?.into_iter().filter(|(pid, comm)| is_match(&before, *pid, comm));
    let matching: Vec<u32> = matching.map(|(pid, _)| pid).collect();
    has_room_for(matching.len())?;
    let mut pinned = Vec::with_capacity(matching.len());
    for pid in matching {
        match pin(roots, pid) {
            Ok(process) => pinned.push(process),
            Err(TargetError::NoSuchProcess { .. } | TargetError::ProcessEnded { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    // A pid may have been reused before it was pinned.
    let after = by_line()?;
    pinned.retain(|process| {
        is_match(&after, process.pid, &process.comm) && !process.has_ended().unwrap_or(false)
    });
    if pinned.is_empty() {
        return Err(TargetError::NameNotFound { pattern: pattern.to_string() });
    }
    Ok(pinned)
}

/// Pids and names of all programs that run, without tracer's own and those that it was started from.
fn strangers(roots: &Roots) -> Result<Vec<(u32, String)>, TargetError> {
    let seen = running(roots)?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let parent =
        |pid: &i32| seen.get(pid).map(|process| process.parent).filter(|parent| *parent > 1);
    let line: Vec<i32> = std::iter::successors(Some(own), parent).take(seen.len()).collect();
    let is_ours = |pid: &i32, process: &Seen| process.parent == own || line.contains(pid);
    let strangers = seen
        .iter()
        .filter(|(pid, process)| process.is_program && !is_ours(pid, process))
        .filter_map(|(pid, process)| Some((u32::try_from(*pid).ok()?, process.comm.clone())));
    Ok(strangers.collect())
}

fn running(roots: &Roots) -> Result<BTreeMap<i32, Seen>, TargetError> {
    let processes = all_processes_with_root(&roots.proc)
        .map_err(TargetError::procfs("the list of processes"))?;
    // A process may end while the list is read.
    let stats = processes.filter_map(|process| process.ok()?.stat().ok());
    Ok(stats
        .map(|stat| {
            let is_kernels = stat.flags & StatFlags::PF_KTHREAD.bits() != 0;
            let is_program = !is_kernels && stat.state != 'Z';
            (stat.pid, Seen { parent: stat.ppid, comm: stat.comm, is_program })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::target::Request;

    /// Starts a program with a name that no other process has.
    fn start(name: &str) -> (tempfile::TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        std::fs::copy("/bin/sleep", &program).unwrap();
        // setsid starts it as no child of this process, which stands for tracer.
        let setsid = Command::new("setsid").arg("--fork").arg(&program).arg("60").status();
        assert!(setsid.unwrap().success());
        let own = Command::new(&program).arg("60").spawn().unwrap();
        (folder, own)
    }

    fn find(pattern: &str) -> Result<Vec<PinnedProcess>, TargetError> {
        resolve(&Roots::host(), &pattern.parse().unwrap(), &mut None)
    }

    /// The same for command lines, with a thread instead of a helper process.
    fn find_full(pattern: &str) -> Result<Vec<PinnedProcess>, TargetError> {
        let (socket, end) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(end));
        let pattern = pattern.parse::<NamePattern>().unwrap().full(true);
        let mut lines = Some(CommandLines(Helper::of_thread(socket)));
        resolve(&Roots::host(), &pattern, &mut lines)
    }

    #[test]
    fn all_processes_with_the_name_are_pinned_but_no_child_of_tracers() {
        let name = format!("named{}", std::process::id());
        let (_folder, mut own) = start(&name);
        // `setsid` returns before the program has its name.
        let found = (0..2000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            find(&name[1..]).ok()
        });
        let found = found.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_ne!(found[0].pid, own.id());
        assert_eq!(found[0].comm, name[..name.len().min(15)]);
        let twice = [Request::Name(name[1..].parse().unwrap()), Request::Pid(found[0].pid)];
        assert_eq!(crate::target::resolve(&twice, &mut None).unwrap().processes.len(), 1);
        let by_line = find_full(&format!("/{name} 60$")).unwrap();
        assert_eq!(by_line.iter().map(|known| known.pid).collect::<Vec<_>>(), [found[0].pid]);
        assert!(find_full(&format!("^{name}")).is_err(), "the command line begins with a path");
        for pid in [found[0].pid, own.id()] {
            let status = Command::new("kill").arg(pid.to_string()).status();
            assert!(status.unwrap().success());
        }
        own.wait().unwrap();
    }

    #[test]
    fn a_sandbox_is_found_by_its_command_line_and_one_that_does_not_answer_is_none() {
        let (socket, end) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(end));
        let mut lines = Some(CommandLines(Helper::of_thread(socket)));
        let folder = tempfile::tempdir().unwrap();
        let start = |name: &str| {
            let program = folder.path().join(name);
            std::fs::copy("/bin/sh", &program).unwrap();
            let mut command = Command::new(&program);
            command.args(["-c", "read x", "boot", "web"]).stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut others = [start("other"), start("runsc-sandbox")];
        let pids: Vec<u32> = others.iter().map(Child::id).collect();
        // `spawn` returns before the program has its name and its words.
        let found = (0..2000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            sandbox_among(&mut lines, &pids, "web")
        });
        assert_eq!(found, Some(pids[1]));
        assert_eq!(sandbox_among(&mut lines, &pids, "other"), None);
        assert_eq!(sandbox_among(&mut None, &pids, "web"), None);
        // The helper does not answer.
        let (socket, _end) = UnixStream::pair().unwrap();
        let mut silent = Some(CommandLines(Helper::of_thread(socket)));
        let begin = Instant::now();
        assert_eq!(sandbox_among(&mut silent, &pids[..1], "web"), None);
        assert!(begin.elapsed() < PATIENCE, "no name of a sandbox, no question");
        assert_eq!(sandbox_among(&mut silent, &pids, "web"), None);
        assert!(begin.elapsed() >= PATIENCE);
        for other in &mut others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }

    #[test]
    fn what_tracer_was_started_from_never_matches() {
        let error = find("^(cargo|tracer).*none$|^$").unwrap_err();
        assert!(matches!(error, TargetError::NameNotFound { .. }), "{error}");
        let own = std::process::id();
        let parent = std::os::unix::process::parent_id();
        let all = find(".").map(|found| found.iter().map(|known| known.pid).collect::<Vec<_>>());
        let all = all.unwrap_or_default();
        assert!(!all.contains(&own) && !all.contains(&parent), "{all:?}");
    }
}
