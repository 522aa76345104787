//! Running processes, by a regular expression for their names.

use std::collections::BTreeMap;

use procfs::process::{StatFlags, all_processes_with_root};
use regex::Regex;

use super::{
    PinnedProcess, Roots, TargetError,
    process::{has_room_for, pin},
};

/// A regular expression for the names of processes, as of `pgrep`: it need not match the whole name.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

impl std::str::FromStr for NamePattern {
    type Err = regex::Error;

    fn from_str(text: &str) -> Result<Self, regex::Error> {
        Regex::new(text).map(Self)
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

/// A process that runs now.
struct Seen {
    parent: i32,
    comm: String,
    /// Whether it makes system calls: it is no thread of the kernel and no zombie.
    is_program: bool,
}

/// Pins every running process whose name (`comm`, at most 15 bytes) matches. tracer, its helper processes, and the
/// processes that tracer was started from never match.
pub(super) fn resolve(
    roots: &Roots,
    pattern: &NamePattern,
) -> Result<Vec<PinnedProcess>, TargetError> {
    let seen = running(roots)?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let line: Vec<i32> = std::iter::successors(Some(own), |pid| {
        seen.get(pid).map(|process| process.parent).filter(|parent| *parent > 1)
    })
    .take(seen.len())
    .collect();
    let matching: Vec<u32> = seen
        .iter()
        .filter(|(pid, process)| {
            let is_ours = process.parent == own || line.contains(pid);
            process.is_program && !is_ours && pattern.0.is_match(&process.comm)
        })
        .filter_map(|(pid, _)| u32::try_from(*pid).ok())
        .collect();
    has_room_for(matching.len())?;
    let mut pinned = Vec::with_capacity(matching.len());
    for pid in matching {
        match pin(roots, pid) {
            // The pid may have been reused since the list was read.
            Ok(process) if pattern.0.is_match(&process.comm) => pinned.push(process),
            Ok(_) | Err(TargetError::NoSuchProcess { .. } | TargetError::ProcessEnded { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if pinned.is_empty() {
        return Err(TargetError::NameNotFound { pattern: pattern.to_string() });
    }
    Ok(pinned)
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
    use std::process::{Child, Command};

    use super::*;

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
        resolve(&Roots::host(), &pattern.parse().unwrap())
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
        for pid in [found[0].pid, own.id()] {
            let status = Command::new("kill").arg(pid.to_string()).status();
            assert!(status.unwrap().success());
        }
        own.wait().unwrap();
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
