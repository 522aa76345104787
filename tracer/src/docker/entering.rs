//! Finds the process that a `docker exec` has its engine start, among those of the container.
//!
//! The engine's shim has a runtime (`runc exec --process FILE …`) fork the process, put it into the container's cgroup and
//! execute the program. Some ten milliseconds are between the last two. Processes that were there before, that began in the
//! container, or that run another command (a health check) are other programs' business.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use procfs::process::{Process, Stat};
use serde::Deserialize;
use tokio::sync::mpsc::Sender;

use super::watch::{ContainerEvent, LOOK_FOR_CGROUP, STEPS, open_any};
use crate::{
    sys::{
        bounded,
        processes::{comm, exists},
    },
    target::CgroupTarget,
};

/// Names of a process that will execute the program: runc's and crun's.
pub(crate) const READY: [&str; 2] = ["runc:[2:INIT]", "crun"];
/// For how long to look for a second process after the first: another client may have the same command run.
const FOR_SECOND: Duration = Duration::from_millis(500);
/// The longest command line that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// The option of `runc exec` with the file that describes the process.
const DESCRIBED: &[u8] = b"--process";

/// A command that a client has an engine start in a container.
#[derive(Debug)]
pub struct Entering {
    /// The container's cgroup.
    pub cgroup: CgroupTarget,
    /// The command.
    pub words: Vec<OsString>,
}

/// What a process of the container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Will execute the command, or has executed it.
    Wanted,
    /// That is not known yet.
    Open,
    /// Has nothing to do with the command.
    Other,
}

/// What is known of a process of the container.
#[derive(Debug)]
struct Facts {
    comm: String,
    argv: Vec<OsString>,
    /// Whether it began before the client.
    is_older: bool,
    /// Whether its parent is in the container as well.
    begins_inside: bool,
    /// The command that the runtime, its parent, was told to execute.
    told: Option<Vec<String>>,
}

/// The used part of the description of a process (config.md of the OCI runtime specification).
#[derive(Debug, Deserialize)]
struct Described {
    args: Vec<String>,
}

impl Entering {
    /// Tells of the process, and of others with the same command that begin soon after it.
    pub(super) fn look(&self, client: u32, tell: &Sender<ContainerEvent>) {
        let Some(since) = stat(client).map(|stat| stat.starttime) else { return };
        let (mut known, mut told) = (BTreeSet::new(), BTreeSet::new());
        let mut first = None;
        while !tell.is_closed() {
            let pids: BTreeSet<u32> = self.cgroup.pids().into_iter().collect();
            for pid in pids.difference(&known.clone()).copied() {
                let Some(facts) = facts(pid, since, &pids) else { continue };
                match self.kind(&facts) {
                    Kind::Open => continue,
                    Kind::Other => {}
                    Kind::Wanted => {
                        told.insert(pid);
                        first.get_or_insert_with(Instant::now);
                        if tell.blocking_send(ContainerEvent::Enters(pid)).is_err() {
                            return;
                        }
                    }
                }
                known.insert(pid);
            }
            if !settle(&mut told, tell) {
                return;
            }
            let is_late = first.is_some_and(|first: Instant| first.elapsed() > FOR_SECOND);
            if is_late && told.is_empty() {
                return;
            }
            sleep(LOOK_FOR_CGROUP);
        }
    }

    fn kind(&self, facts: &Facts) -> Kind {
        let Facts { comm, argv, is_older, begins_inside, told } = facts;
        if *is_older || *begins_inside {
            return Kind::Other;
        }
        if STEPS.contains(&comm.as_str()) {
            return Kind::Open;
        }
        let is_wanted = if READY.contains(&comm.as_str()) {
            // Without a description, the runtime has just ended: the process executes its program now.
            let Some(told) = told else { return Kind::Open };
            let words = self.words.iter().map(|word| word.to_string_lossy());
            words.eq(told.iter().map(String::as_str))
        } else if argv.is_empty() {
            return Kind::Open;
        } else {
            *argv == self.words
        };
        if is_wanted { Kind::Wanted } else { Kind::Other }
    }
}

/// Tells of processes that have ended before they executed a program, and forgets those that execute it. Whether the
/// trace still listens.
fn settle(told: &mut BTreeSet<u32>, tell: &Sender<ContainerEvent>) -> bool {
    let mut listens = true;
    told.retain(|pid| {
        if !exists(*pid) {
            listens &= tell.blocking_send(ContainerEvent::Ended(*pid)).is_ok();
            return false;
        }
        comm(*pid).is_none_or(|comm| READY.contains(&comm.as_str()))
    });
    listens
}

fn stat(pid: u32) -> Option<Stat> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    bounded::of_process::<Stat>(&process, "stat").ok()
}

/// `None` if the process has ended.
fn facts(pid: u32, since: u64, inside: &BTreeSet<u32>) -> Option<Facts> {
    let stat = stat(pid)?;
    // Later than the name: while a process executes a program it has the new name already, and no words.
    let parent = u32::try_from(stat.ppid).unwrap_or(0);
    let is_older = stat.starttime < since;
    let begins_inside = inside.contains(&parent);
    // The container's own programs can lock their memory, and reading their words then blocks.
    let argv = if is_older || begins_inside { Vec::new() } else { command_line(pid) };
    let asks = !is_older && !begins_inside && READY.contains(&stat.comm.as_str());
    let told = asks.then(|| told_to(parent)).flatten();
    Some(Facts { comm: stat.comm, argv, is_older, begins_inside, told })
}

/// The command that a runtime was told to execute in a container.
fn told_to(runtime: u32) -> Option<Vec<String>> {
    let argv = command_line(runtime);
    let path = description(&argv)?;
    // As the runtime sees it.
    let seen = Path::new("/proc").join(runtime.to_string()).join("root");
    let path = seen.join(Path::new(path).strip_prefix("/").ok()?);
    let mut text = Vec::new();
    open_any(&path)?.take(LONGEST as u64).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok().map(|Described { args }| args)
}

/// The file that describes the process, on the command line of a runtime.
fn description(argv: &[OsString]) -> Option<&OsStr> {
    let at = argv.iter().position(|word| word == "exec")?;
    let mut words = argv.get(at + 1..)?.iter();
    while let Some(word) = words.next() {
        match word.as_bytes().strip_prefix(DESCRIBED) {
            Some([]) => return words.next().map(OsString::as_os_str),
            Some([b'=', path @ ..]) => return Some(OsStr::from_bytes(path)),
            _ => {}
        }
    }
    None
}

fn command_line(pid: u32) -> Vec<OsString> {
    let read = bounded::beginning(format!("/proc/{pid}/cmdline"), LONGEST);
    let bytes = read.map(|read| read.bytes).unwrap_or_default();
    let words = bytes.strip_suffix(b"\0").map(|words| words.split(|byte| *byte == 0));
    words.into_iter().flatten().map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::target::Hierarchy;

    fn argv(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn entering(words: &str) -> Entering {
        let (path, label) = ("/nonexistent".into(), String::new());
        let cgroup = CgroupTarget { id: 1, hierarchy: Hierarchy::V2, path, label, doubt: None };
        Entering { cgroup, words: argv(words) }
    }

    fn facts(comm: &str, line: &str, told: Option<&str>) -> Facts {
        let told = told.map(|line| line.split_whitespace().map(str::to_owned).collect());
        let (is_older, begins_inside) = (false, false);
        Facts { comm: comm.to_owned(), argv: argv(line), is_older, begins_inside, told }
    }

    #[test]
    fn only_the_process_that_a_runtime_was_told_to_start_is_wanted() {
        let wanted = entering("ls -l");
        let init = |told| facts("runc:[2:INIT]", "runc init", told);
        for (facts, kind) in [
            (init(Some("ls -l")), Kind::Wanted),
            (facts("crun", "crun exec", Some("ls -l")), Kind::Wanted),
            (facts("ls", "ls -l", None), Kind::Wanted),
            (facts("ls", "", None), Kind::Open),
            (init(None), Kind::Open),
            (facts("runc:[1:CHILD]", "runc init", None), Kind::Open),
            (init(Some("ls")), Kind::Other),
            (init(Some("ls -l x")), Kind::Other),
            (facts("sh", "sh -c health", None), Kind::Other),
            (Facts { is_older: true, ..facts("ls", "ls -l", None) }, Kind::Other),
            (Facts { begins_inside: true, ..init(Some("ls -l")) }, Kind::Other),
        ] {
            assert_eq!(wanted.kind(&facts), kind, "{facts:?}");
        }
    }

    #[test]
    fn the_description_is_found_on_the_command_line_of_a_runtime() {
        let path = |line: &str| description(&argv(line)).map(OsStr::to_owned);
        let runc = "runc --root /r --log /l exec --process /tmp/p --detach --pid-file /f ID";
        assert_eq!(path(runc), Some("/tmp/p".into()));
        assert_eq!(path("crun exec --tty --process=/p ID"), Some("/p".into()));
        for line in ["runc --process /p init", "runc exec ID sh", "runc exec --process", "sleep 5"]
        {
            assert_eq!(path(line), None, "{line}");
        }
    }

    #[test]
    fn a_command_line_is_read_word_by_word() {
        let mut shell = std::process::Command::new("sh");
        // It waits for a line that never comes.
        let mut child = shell.args(["-c", "read x", ""]).stdin(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while command_line(child.id()).first().is_none_or(|word| word != "sh") {
            assert!(Instant::now() < until);
        }
        assert_eq!(command_line(child.id()), ["sh", "-c", "read x", ""]);
        assert!(told_to(child.id()).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(command_line(child.id()).is_empty());
    }
}
