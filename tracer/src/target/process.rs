//! Running processes, pinned so that a reused pid is not mistaken for them.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, OwnedFd},
};

use procfs::{
    ProcError,
    process::{Process, StatFlags, Status},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Roots, TargetError};
use crate::sys::{bounded, limits};

/// A process that is certainly the named one.
#[derive(Debug)]
pub struct PinnedProcess {
    /// Its pid. No other process can have it while `pidfd` says that the process lives.
    pub pid: u32,
    /// The kernel's handle of the process. It is readable when the process has ended.
    pub pidfd: OwnedFd,
    /// Its name when it was pinned, up to 15 bytes.
    pub comm: String,
}

impl PinnedProcess {
    /// Whether the process has ended, reaped or not.
    ///
    /// # Errors
    ///
    /// An error of `poll(2)`, which happens only if memory is short.
    pub fn has_ended(&self) -> io::Result<bool> {
        has_ended(&self.pidfd)
    }
}

/// Pins every named process, each once.
pub(super) fn pin_all(roots: &Roots, pids: &[u32]) -> Result<Vec<PinnedProcess>, TargetError> {
    let mut is_new: BTreeSet<u32> = pids.iter().copied().collect();
    has_room_for(is_new.len())?;
    pids.iter().filter(|pid| is_new.remove(pid)).map(|pid| pin(roots, *pid)).collect()
}

/// Checks that tracer may have a file open for each of this many processes.
pub(super) fn has_room_for(named: usize) -> Result<(), TargetError> {
    let limit = limits::files().unwrap_or(u64::MAX);
    if named as u64 + OWN_FILES > limit {
        return Err(TargetError::TooManyPids { named, limit });
    }
    Ok(())
}

/// How many files tracer has open beside those of the named processes: maps, programs, links, its output.
const OWN_FILES: u64 = 300;

/// Opens the pidfd first and reads procfs afterwards, so that a pid that is reused in between counts as ended.
pub(super) fn pin(roots: &Roots, pid: u32) -> Result<PinnedProcess, TargetError> {
    if pid == std::process::id() {
        return Err(TargetError::OwnProcess { pid });
    }
    let handle = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(TargetError::NoSuchProcess { pid })?;
    let pidfd = match pidfd_open(handle, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(refusal) => return Err(explain_refusal(roots, pid, refusal.into())),
    };
    let facts = read_facts(roots, pid)?;
    let ended = has_ended(&pidfd).map_err(|source| TargetError::CannotPin { pid, source })?;
    if ended {
        return Err(TargetError::ProcessEnded { pid, comm: facts.comm });
    }
    if facts.is_kernel_thread {
        return Err(TargetError::KernelThread { pid, comm: facts.comm });
    }
    Ok(PinnedProcess { pid, pidfd, comm: facts.comm })
}

struct Facts {
    comm: String,
    tgid: u32,
    is_kernel_thread: bool,
}

fn read_facts(roots: &Roots, pid: u32) -> Result<Facts, TargetError> {
    let read = || -> Result<Facts, ProcError> {
        let process = Process::new_with_root(roots.proc.join(pid.to_string()))?;
        let stat = process.stat()?;
        let status = bounded::of_process::<Status>(&process, "status")?;
        Ok(Facts {
            comm: stat.comm.clone(),
            tgid: u32::try_from(status.tgid).unwrap_or(pid),
            is_kernel_thread: stat.flags & StatFlags::PF_KTHREAD.bits() != 0,
        })
    };
    read().map_err(|error| match error {
        // For a process that was reaped while its files were open, procfs returns ESRCH.
        ProcError::NotFound(_) => TargetError::NoSuchProcess { pid },
        ProcError::Io(cause, _) if cause.raw_os_error() == Some(ESRCH) => {
            TargetError::NoSuchProcess { pid }
        }
        source => TargetError::Procfs { what: format!("process {pid}"), source },
    })
}

const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// The error behind a refusal of `pidfd_open(2)`: for threads it returns EINVAL, or ENOENT since Linux 6.9, and for
/// pids that do not exist ESRCH. procfs says which case it is.
fn explain_refusal(roots: &Roots, pid: u32, source: io::Error) -> TargetError {
    match read_facts(roots, pid) {
        Ok(facts) if facts.tgid != pid => {
            TargetError::IsThread { tid: pid, pid: facts.tgid, comm: facts.comm }
        }
        Ok(_) if source.raw_os_error() != Some(ESRCH) => TargetError::CannotPin { pid, source },
        Ok(_) => TargetError::NoSuchProcess { pid },
        Err(error) => error,
    }
}

fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now)))?;
    Ok(ready > 0)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, sync::mpsc, thread};

    use super::*;

    fn pin_on_host(pid: u32) -> Result<PinnedProcess, TargetError> {
        pin(&Roots::host(), pid)
    }

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn a_running_process_is_pinned_until_it_ends() {
        let mut child = sleeper();
        let pinned = pin_on_host(child.id()).unwrap();
        assert_eq!(pinned.pid, child.id());
        assert!(!pinned.has_ended().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(pinned.has_ended().unwrap());
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        let handle = Pid::from_child(&child);
        let pidfd = pidfd_open(handle, PidfdFlags::empty()).unwrap();
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        let error = pin_on_host(child.id()).unwrap_err();
        assert!(matches!(error, TargetError::ProcessEnded { pid, .. } if pid == child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn a_reaped_process_does_not_exist() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let error = pin_on_host(child.id()).unwrap_err();
        assert!(matches!(error, TargetError::NoSuchProcess { .. }), "{error}");
    }

    #[test]
    fn numbers_that_can_be_no_pid_do_not_exist() {
        for pid in [0, u32::MAX, 1 << 22 | 1] {
            let error = pin_on_host(pid).unwrap_err();
            assert!(matches!(error, TargetError::NoSuchProcess { .. }), "{pid}: {error}");
        }
    }

    #[test]
    fn a_thread_is_answered_with_its_process() {
        let (tid_sender, tid) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tid_sender.send(rustix::thread::gettid()).unwrap();
            let _ = stopped.recv();
        });
        let tid = tid.recv().unwrap().as_raw_pid().unsigned_abs();
        let error = pin_on_host(tid).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, TargetError::IsThread { pid, .. } if pid == own), "{error}");
        assert!(error.to_string().ends_with(&format!("use {own}")));
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn the_tracer_does_not_trace_itself() {
        let error = pin_on_host(std::process::id()).unwrap_err();
        assert!(matches!(error, TargetError::OwnProcess { .. }));
    }

    #[test]
    fn a_kernel_thread_is_refused() {
        let Ok(facts) = read_facts(&Roots::host(), 2) else { return };
        if facts.comm != "kthreadd" {
            return; // Not in the initial pid namespace: no kernel threads to see.
        }
        let error = pin_on_host(2).unwrap_err();
        assert!(matches!(error, TargetError::KernelThread { .. }), "{error}");
    }

    #[test]
    fn a_pid_named_twice_is_pinned_once() {
        let mut child = sleeper();
        let pinned = pin_all(&Roots::host(), &[child.id(), child.id()]).unwrap();
        assert_eq!(pinned.len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
