//! Helper processes: what can block on another program's file, memory or disk happens in them.
//!
//! A thread in uninterruptible sleep keeps its whole process from ending, `SIGKILL` included: a `stat(2)` on a FUSE file
//! system that does not answer, or a read of `/proc/PID/environ` of a process that holds its own `mmap_lock`. So tracer
//! never makes such calls itself. It asks a helper, waits for a limited time, and abandons the helper if no answer comes.
//!
//! A helper is forked before tracer has a second thread or an open file, so it shares no lock and holds nothing open but
//! its socket. It keeps the capabilities to look at other users' processes and files, ignores the terminal's signals,
//! and ends when tracer's end of the socket is closed.

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    process::{Pid, Signal, WaitOptions, chdir, kill_process, setsid, waitpid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::set_name,
};

use super::privileges::Rights;

/// A helper process, seen from tracer. Dropping this ends it as soon as it is not blocked.
#[derive(Debug)]
pub struct Helper {
    /// tracer's end of the connection.
    pub socket: UnixStream,
    /// `None` for a helper that is a thread of a test.
    pid: Option<Pid>,
}

/// How a helper begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherits {
    /// Whether it keeps standard input and the working directory, to read files that the user named.
    pub names: bool,
}

impl Helper {
    /// Forks a helper that runs `serve` with its end of the connection. To be called while this process has one thread.
    ///
    /// # Errors
    /// An error if the system allows no further process.
    pub fn fork(inherits: Inherits, serve: impl FnOnce(UnixStream)) -> io::Result<Self> {
        let (socket, end) = UnixStream::pair()?;
        // SAFETY: this process has one thread, so no lock is held by a thread that the child does not have.
        match unsafe { libc::fork() } {
            0 => {
                if prepare(inherits, &end).is_ok() {
                    serve(end);
                }
                // SAFETY: `_exit` ends the process without running the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
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

/// How long tracer waits for the end of a helper, so that it leaves no zombie behind.
const LAST_MOMENTS: Duration = Duration::from_millis(20);

/// Separates the helper from everything that it inherits.
fn prepare(inherits: Inherits, end: &UnixStream) -> io::Result<()> {
    block_signals();
    // Not in the terminal's foreground group, whose processes get Ctrl-C and Ctrl-Z.
    setsid()?;
    set_name(c"tracer-look")?;
    close_all_but(end.as_raw_fd())?;
    // A path without access: no other process waits for the end of it, and every call on it fails.
    let nothing = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    if !inherits.names {
        dup2_stdin(&nothing)?;
        chdir("/")?;
    }
    Rights::Look.take()
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
