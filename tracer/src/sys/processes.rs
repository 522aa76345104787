//! What `/proc` tells of a process by its pid, for which no [`procfs`] handle is worth keeping.

use procfs::process::{Process, Stat};

use super::bounded;

/// Whether `/proc` has a process or thread of this number, zombies included. `true` if that cannot be told.
pub(crate) fn exists(id: u32) -> bool {
    std::fs::exists(format!("/proc/{id}")).unwrap_or(true)
}

/// Whether a process runs: a zombie does not.
pub(crate) fn runs(pid: u32) -> bool {
    let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
    let stat = process.and_then(|process| bounded::of_process::<Stat>(&process, "stat").ok());
    stat.is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The name of a process (`comm`). `None` if it has ended.
pub(crate) fn comm(pid: u32) -> Option<String> {
    let line = bounded::text(format!("/proc/{pid}/comm")).ok()?;
    Some(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_zombie_exists_and_does_not_run() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while runs(child.id()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(exists(child.id()) && !runs(child.id()));
        child.wait().unwrap();
        assert!(!exists(child.id()) && comm(child.id()).is_none());
        assert!(runs(std::process::id()));
    }
}
