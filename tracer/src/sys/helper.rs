//! Helper processes: what can block on another program's file, memory or disk happens in them.
//!
//! A thread in uninterruptible sleep keeps its whole process from ending, `SIGKILL` included: a `stat(2)` on a FUSE file
//! system that does not answer, or a read of `/proc/PID/environ` of a process that holds its own `mmap_lock`. So tracer
//! never makes such calls itself. It asks a helper, waits for a limited time, and abandons the helper if no answer comes.
//!
//! A helper is forked before tracer has a second thread or an open file, so it shares no lock. It closes what tracer
//! inherited, ignores the terminal's signals, and ends when tracer's end of the socket is closed.

mod source;

use std::{
    ffi::CStr,
    io,
    net::Shutdown,
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    process::{Pid, Signal, WaitOptions, chdir, kill_process, setsid, waitpid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::set_name,
};
use serde::{Deserialize, Serialize};

pub use self::source::HelperSource;

/// A helper process, seen from tracer. Dropping this ends it as soon as it is not blocked.
#[derive(Debug)]
pub struct Helper {
    /// tracer's end of the connection.
    pub socket: UnixStream,
    /// `None` for a helper of a [`HelperSource`], which reaps it, or one that is a thread of a test.
    pid: Option<Pid>,
}

/// What a helper keeps of what tracer inherited, to open what the user named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// The working directory: paths may be relative.
    Directory,
    /// Standard input as well: `-` names it.
    StdinAndDirectory,
}

impl Helper {
    /// Forks a helper that runs `serve` with its end of the connection. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(kept: Kept, serve: impl FnOnce(UnixStream) -> io::Result<()>) -> io::Result<Self> {
        Self::fork_with_log(kept, None, serve)
    }

    /// The same for a helper that has a log: its standard error.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn fork_with_log(
        kept: Kept,
        log: Option<OwnedFd>,
        serve: impl FnOnce(UnixStream) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (socket, end) = UnixStream::pair()?;
        // SAFETY: this process has one thread, so no lock is held by a thread that the child does not have.
        match unsafe { libc::fork() } {
            0 => serve_and_end(|| prepare(kept, log, &end).and_then(|()| serve(end))),
            -1 => Err(io::Error::last_os_error()),
            pid => Ok(Self { socket, pid: Pid::from_raw(pid) }),
        }
    }

    /// Wraps a connection to a thread that serves.
    #[cfg(test)]
    pub(crate) const fn of_thread(socket: UnixStream) -> Self {
        Self { socket, pid: None }
    }

    /// Kills a helper that does not answer. It ends at once unless its sleep is uninterruptible.
    pub fn abandon(self) {
        if let Some(pid) = self.pid {
            // Fails only if it has ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // A helper that is not blocked ends now. One that is blocked is left behind.
        let _ = self.socket.shutdown(Shutdown::Both);
        let began = Instant::now();
        while let Some(pid) = self.pid
            && began.elapsed() < LAST_MOMENTS
            && let Ok(None) = waitpid(Some(pid), WaitOptions::NOHANG)
        {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What a forked process does, and its end.
fn serve_and_end(serve: impl FnOnce() -> io::Result<()>) -> ! {
    // An error means that tracer is gone, or that nothing can be opened. A panic must not run what tracer does at its end.
    let _ = catch_unwind(AssertUnwindSafe(serve));
    // SAFETY: `_exit` ends the process without running the parent's exit handlers.
    unsafe { libc::_exit(0) }
}

/// The name of helper processes.
const NAME: &CStr = c"tracer-helper";
/// How long tracer waits for the end of a helper, so that it leaves no zombie behind.
const LAST_MOMENTS: Duration = Duration::from_millis(20);

/// Separates the helper from what it inherits.
fn prepare(kept: Kept, log: Option<OwnedFd>, end: &UnixStream) -> io::Result<()> {
    block_signals();
    // Not in the terminal's foreground group, whose processes get Ctrl-C and Ctrl-Z.
    setsid()?;
    set_name(NAME)?;
    if let Some(log) = &log {
        dup2_stderr(log)?;
    }
    close_all_but(end.as_raw_fd())?;
    // A path without access: no other process waits for the end of it, and every call on it fails.
    let nothing = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdout(&nothing)?;
    if log.is_none() {
        dup2_stderr(&nothing)?;
    }
    // It is closed with all others.
    std::mem::forget(log);
    if kept != Kept::StdinAndDirectory {
        dup2_stdin(&nothing)?;
    }
    if kept == Kept::Nothing {
        chdir("/")?;
    }
    Ok(())
}

fn block_signals() {
    // SAFETY: the set is plain bits and is initialised by `sigfillset`. With valid pointers and a valid `how` the call
    // cannot fail.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// Closes what tracer's parent left open, except the standard streams.
fn close_all_but(kept: RawFd) -> io::Result<()> {
    let listed: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in listed.into_iter().filter(|fd| *fd > libc::STDERR_FILENO && *fd != kept) {
        // SAFETY: the child runs nothing that owns one of these descriptors; their owners are values of the parent,
        // which the child never drops.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// An error of a helper, as it sends it: the system's number of it, and its words.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal(Option<i32>, String);

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error(), error.to_string())
    }
}

impl From<Refusal> for io::Error {
    fn from(Refusal(number, words): Refusal) -> Self {
        number.map_or_else(|| Self::other(words), Self::from_raw_os_error)
    }
}

/// A message as a line.
///
/// # Errors
/// An error if the message cannot be encoded.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}
