//! The child between fork and exec.
//!
//! After a fork in a process with threads, only async-signal-safe calls are allowed. So the child makes system calls
//! on data that was prepared before, allocates nothing and never returns. It waits in `poll(2)` and not in `read(2)`,
//! so that the command's ledger has no transfer of tracer itself.

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    ptr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use procfs::process::{Process, StatFlags};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, ioctl_tiocsctty, pidfd_open, pidfd_send_signal,
        setsid, waitpid,
    },
};

use super::{LaunchError, user::Identity};
use crate::sys::{
    inherited::{self, LAST_SIGNAL},
    limits,
    signal::set_action,
};

/// How often a wait for `execve(2)` looks whether it goes on.
const TURN: Duration = Duration::from_millis(20);
/// How long a child that is killed may take to end.
const AT_DROP: Duration = Duration::from_secs(1);

/// Locked from the creation of a child's pipes until the parent has closed the child's ends.
static FORKING: Mutex<()> = Mutex::new(());

/// Path, arguments and environment in the form that `execve(2)` takes.
pub(super) struct Image {
    path: CString,
    /// Owns what the pointers below point to.
    _strings: [Vec<CString>; 2],
    argv: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

impl Image {
    pub(super) fn new(
        program: &Path,
        argv: &[OsString],
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, LaunchError> {
        let path = c_string(program.as_os_str())?;
        let argv = argv.iter().map(|argument| c_string(argument)).collect::<Result<Vec<_>, _>>()?;
        let environment = environment
            .into_iter()
            .map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                c_string(&variable)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        Ok(Self {
            path,
            argv: pointers(&argv),
            environment: pointers(&environment),
            _strings: [argv, environment],
        })
    }

    /// Executes the command. Returns only if the kernel refuses.
    fn execute(&self) -> Errno {
        // SAFETY: the path ends in NUL and both arrays end in a null pointer. `self` owns what they point to and does
        // not change it after `new`.
        unsafe {
            libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.environment.as_ptr());
        }
        last_errno()
    }
}

/// What the child sets up before it waits, and what it executes.
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) image: Image,
    pub(super) identity: Option<Identity>,
    /// The command's end of its new terminal.
    pub(super) slave: Option<OwnedFd>,
}

/// A step that failed in the child. The child sends it with an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Terminal = b't',
    User = b'u',
    Exec = b'x',
}

/// A stage and an errno, as bytes.
type Failure = [u8; 5];

/// A child that waits. Dropping this kills it.
#[derive(Debug)]
pub(super) struct Parked {
    /// `None` after the child was given away or reaped.
    process: Option<(Pid, OwnedFd)>,
    pid: Pid,
    ends: ParentEnds,
    program: PathBuf,
    user: String,
}

/// The parent's ends of the pipes.
#[derive(Debug)]
struct ParentEnds {
    /// One byte releases the child. Closing this without a byte ends it.
    release: OwnedFd,
    /// The child closes its end when it waits. It writes only if a step failed.
    setup: OwnedFd,
    /// Exec closes the child's end. The child writes only if exec failed.
    exec: OwnedFd,
}

/// The child's ends. It writes to them only if it fails: tracer could count such a write as the command's, if it
/// looks at the child before the call returns.
struct ChildEnds {
    wait: OwnedFd,
    setup: OwnedFd,
    exec: OwnedFd,
}

impl Parked {
    /// Forks, and returns when the child waits.
    pub(super) fn fork(plan: Plan) -> Result<Self, LaunchError> {
        let (pid, ends) = fork_child(&plan)?;
        let Plan { program, image: _, identity, slave: _ } = plan;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                drop(ends); // Which ends the child.
                let _ = reap(pid);
                return Err(LaunchError::Fork(errno.into()));
            }
        };
        let user = identity.map(|identity| identity.name).unwrap_or_default();
        let parked = Self { process: Some((pid, pidfd)), pid, ends, program, user };
        match receive(&parked.ends.setup) {
            Ok(None) => Ok(parked),
            Ok(Some((stage, errno))) => Err(parked.explain(stage, errno)),
            Err(error) => Err(LaunchError::Fork(error)),
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Has the child execute the command. Returns when it has. The file system of the program may not answer, so
    /// `waits` is asked from time to time whether to go on.
    pub(super) fn release(
        mut self,
        mut waits: impl FnMut() -> bool,
    ) -> Result<(Pid, OwnedFd), LaunchError> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.ends.release, b"!")) {
            Ok(_) => {}
            Err(Errno::PIPE) => return Err(self.explain_end()),
            Err(errno) => return Err(LaunchError::Fork(errno.into())),
        }
        while !is_readable(&self.ends.exec, TURN)
            .map_err(|errno| LaunchError::Fork(errno.into()))?
        {
            if !waits() {
                return Err(LaunchError::StandsStill { path: self.program.clone() });
            }
        }
        match receive(&self.ends.exec) {
            // The end was closed by exec, and not by the child's death.
            Ok(None) if has_executed(self.pid) => {
                self.process.take().ok_or_else(|| self.explain_end())
            }
            Ok(None) => Err(self.explain_end()),
            Ok(Some((stage, errno))) => Err(self.explain(stage, errno)),
            Err(error) => Err(LaunchError::Fork(error)),
        }
    }

    fn explain(&self, stage: Stage, errno: io::Error) -> LaunchError {
        match stage {
            Stage::Terminal => LaunchError::Terminal(errno),
            Stage::User => LaunchError::CannotSwitchUser { name: self.user.clone(), source: errno },
            Stage::Exec => LaunchError::NotExecutable { path: self.program.clone(), errno },
        }
    }

    fn explain_end(&mut self) -> LaunchError {
        let status = match self.process.take().map(|(pid, _)| reap(pid)) {
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "reaped".to_owned(),
        };
        LaunchError::EndedEarly { status }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some((pid, pidfd)) = self.process.take() {
            // SIGKILL also ends a stopped child. A failure means that it has ended. A child whose program is on a file
            // system that does not answer ends as soon as that answers, and executes nothing.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            if is_readable(&pidfd, AT_DROP).unwrap_or(false) {
                let _ = reap(pid);
            }
        }
    }
}

fn make_pipes() -> rustix::io::Result<(ParentEnds, ChildEnds)> {
    let (wait, release) = pipe_with(PipeFlags::CLOEXEC)?;
    let (setup, setup_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (exec, exec_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let child_ends = ChildEnds { wait, setup: setup_writer, exec: exec_writer };
    Ok((ParentEnds { release, setup, exec }, child_ends))
}

/// Waits until a descriptor is readable or closed at the other end, at most for this long.
fn is_readable(end: &OwnedFd, at_most: Duration) -> rustix::io::Result<bool> {
    let at_most = Timespec::try_from(at_most).map_err(|_| Errno::INVAL)?;
    let mut fds = [PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&at_most)))? > 0)
}

/// The child's failure; `None` if it closes its end instead.
fn receive(end: &OwnedFd) -> io::Result<Option<(Stage, io::Error)>> {
    let mut failure: Failure = [0; 5];
    // The child writes less than PIPE_BUF at once, so one read returns all of it.
    let length = rustix::io::retry_on_intr(|| rustix::io::read(end, &mut failure))?;
    if length < failure.len() {
        return Ok(None);
    }
    let [stage, errno @ ..] = failure;
    let known = [Stage::Terminal, Stage::User, Stage::Exec];
    let stage = known.into_iter().find(|known| *known as u8 == stage);
    Ok(stage.map(|stage| (stage, io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))))
}

/// Whether a child that closed its pipe has executed the command. The kernel keeps this flag for zombies as well.
fn has_executed(pid: Pid) -> bool {
    let stat = Process::new(pid.as_raw_pid()).and_then(|process| process.stat());
    // Without procfs only the better error message is missing.
    stat.map_or(true, |stat| stat.flags & StatFlags::PF_FORKNOEXEC.bits() == 0)
}

fn reap(pid: Pid) -> io::Result<ExitStatus> {
    let reaped = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
    let status = reaped.map_or(0, |(_, status)| status.as_raw());
    Ok(ExitStatus::from_raw(status))
}

fn fork_child(plan: &Plan) -> Result<(Pid, ParentEnds), LaunchError> {
    // Two children that inherit each other's ends would keep both parents waiting.
    let _alone = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
    let (ends, child) = make_pipes().map_err(|errno| LaunchError::Fork(errno.into()))?;
    // In the child, a signal handler of tracer would write to descriptors that parent and child share.
    let own_mask = swap_signal_mask(None);
    // SAFETY: the child calls only `become_command`, which is async-signal-safe.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        become_command(plan, &ends, &child);
    }
    let failure = io::Error::last_os_error();
    swap_signal_mask(Some(&own_mask));
    let pid = if forked > 0 { Pid::from_raw(forked) } else { None };
    Ok((pid.ok_or(LaunchError::Fork(failure))?, ends))
}

/// Sets this thread's signal mask (`None`: all signals are blocked). Returns the mask before.
fn swap_signal_mask(new: Option<&libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: signal sets are plain bits, and those passed are initialised here or by an earlier call. With valid
    // pointers and a valid `how` the call cannot fail.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, new.unwrap_or(&all), &raw mut old);
        old
    }
}

/// Everything that the child does.
fn become_command(plan: &Plan, ends: &ParentEnds, child: &ChildEnds) -> ! {
    // The child's copy would keep the pipe open after the parent has closed its end.
    close(&ends.release);
    if let Err((stage, errno)) = prepare(plan) {
        send(&child.setup, stage, errno);
        leave();
    }
    close(&child.setup);
    if is_released(&child.wait) {
        let errno = plan.image.execute();
        send(&child.exec, Stage::Exec, errno);
    }
    leave()
}

/// Closes a descriptor in the child, which has its own table of descriptors.
fn close(end: &OwnedFd) {
    // SAFETY: the child ends by exec or `_exit`, so nothing uses the descriptor again and no owner is dropped. The
    // parent's descriptor of the same number is another one.
    unsafe { libc::close(end.as_raw_fd()) };
}

fn prepare(plan: &Plan) -> Result<(), (Stage, Errno)> {
    if let Some(slave) = &plan.slave {
        take_terminal(slave).map_err(|errno| (Stage::Terminal, errno))?;
    }
    if let Some(identity) = &plan.identity {
        identity.assume().map_err(|errno| (Stage::User, errno))?;
    }
    reset_signals();
    limits::restore_files();
    if plan.slave.is_none() {
        close_streams();
    }
    Ok(())
}

/// Closes the standard streams that were closed when tracer started. Rust's runtime has opened something in their
/// place.
fn close_streams() {
    for fd in inherited::closed_streams() {
        // SAFETY: the child has its own table, and uses no standard stream before exec.
        unsafe { libc::close(fd) };
    }
}

/// Makes the terminal the child's controlling terminal and all its standard streams.
fn take_terminal(slave: &OwnedFd) -> rustix::io::Result<()> {
    setsid()?;
    ioctl_tiocsctty(slave)?;
    rustix::stdio::dup2_stdin(slave)?;
    rustix::stdio::dup2_stdout(slave)?;
    rustix::stdio::dup2_stderr(slave)
}

/// Resets signals to what they were before tracer: ignored, for example by nohup(1), or not. Removes tracer's mask.
fn reset_signals() {
    for signal in 1..=LAST_SIGNAL {
        let was_ignored = inherited::was_ignored(signal);
        set_action(signal, if was_ignored { libc::SIG_IGN } else { libc::SIG_DFL });
    }
    // SAFETY: the mask is empty and lives here.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Waits for the byte that releases the child. `false` if the parent closes the pipe without it.
fn is_released(wait: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(wait.as_fd(), PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => return fds[0].revents().contains(PollFlags::IN),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn send(end: &OwnedFd, stage: Stage, errno: Errno) {
    let [a, b, c, d] = errno.raw_os_error().to_ne_bytes();
    let failure: Failure = [stage as u8, a, b, c, d];
    // If this fails, the parent is gone.
    let _ = rustix::io::write(end, &failure);
}

fn leave() -> ! {
    // SAFETY: `_exit` ends the process without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

fn last_errno() -> Errno {
    // SAFETY: libc's pointer to this thread's errno is always valid.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

fn c_string(text: &OsStr) -> Result<CString, LaunchError> {
    CString::new(text.as_bytes())
        .map_err(|_| LaunchError::ZeroByte { argument: text.to_string_lossy().into_owned() })
}
