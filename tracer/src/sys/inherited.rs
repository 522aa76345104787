//! What this process was started with: SIGPIPE, standard streams and other descriptors.
//!
//! A traced command must find what it would find without tracer, and nobody may wait for tracer's copies.
//! Rust's runtime changes two things before `main`: it ignores SIGPIPE, and it opens /dev/null for a
//! standard stream that is closed. So they are looked at before the runtime, and handed on as they were.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{FileType, fstat},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout},
};

static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);
static IS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Called by libc before `main`, and so before Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

extern "C" fn remember() {
    IGNORES_SIGPIPE.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    for (fd, is_closed) in (0..).zip(&IS_CLOSED) {
        // SAFETY: takes a number, which need not be that of an open file.
        is_closed.store(unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0, Ordering::Relaxed);
    }
}

/// Whether a signal is ignored now. Async-signal-safe: it is asked between fork and exec.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a signal's action is valid when zero and lives here; a null pointer leaves it unchanged.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let is_known = libc::sigaction(signal, ptr::null(), &raw mut action) == 0;
        is_known && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Whether a process that this one becomes, or starts, should ignore SIGPIPE.
pub(crate) fn ignores_sigpipe() -> bool {
    IGNORES_SIGPIPE.load(Ordering::Relaxed)
}

/// The standard streams that were closed. Allocates nothing: it is asked between fork and exec.
pub(crate) fn closed_streams() -> impl Iterator<Item = RawFd> {
    (0..).zip(&IS_CLOSED).filter(|(_, is_closed)| is_closed.load(Ordering::Relaxed)).map(|it| it.0)
}

/// Descriptors above the standard streams that came with this process: a shell's `3>&1`, what a parent
/// forgot to close. They are the command's, which has its own copies; dropping this closes tracer's.
#[derive(Debug)]
pub(crate) struct Descriptors {
    _owned: Vec<OwnedFd>,
}

impl Descriptors {
    /// Those that are open now. To be called once, before anything else is opened.
    pub(crate) fn of_this_process() -> Self {
        let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let _owned = listed
            .into_iter()
            .filter(|fd| *fd > stderr().as_raw_fd() && survived_exec(*fd))
            // SAFETY: it is open, and nobody in this process knows of it: what the list itself was
            // read through is closed, and what Rust opens does not survive exec.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect();
        Self { _owned }
    }
}

/// Whether a descriptor is open, and of the kind that an exec leaves open.
fn survived_exec(fd: RawFd) -> bool {
    // SAFETY: takes a number, which need not be that of an open file.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// tracer's own standard streams, those that it has no use for any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unused {
    /// Nothing is read.
    pub(crate) stdin: bool,
    /// The report goes elsewhere.
    pub(crate) stdout: bool,
    /// Nothing is said.
    pub(crate) stderr: bool,
}

impl Unused {
    /// Puts /dev/null in the place of those that are pipes or sockets: somebody may wait for the last
    /// one who has such an end open, and tracer is not to be that one.
    ///
    /// # Errors
    /// Without /dev/null.
    pub(crate) fn let_go(self) -> io::Result<()> {
        let null = fs::File::options().read(true).write(true).open("/dev/null")?;
        if self.stdin && has_another_end(stdin()) {
            dup2_stdin(&null)?;
        }
        if self.stdout && has_another_end(stdout()) {
            dup2_stdout(&null)?;
        }
        if self.stderr && has_another_end(stderr()) {
            dup2_stderr(&null)?;
        }
        Ok(())
    }
}

fn has_another_end(stream: BorrowedFd<'_>) -> bool {
    fstat(stream).is_ok_and(|found| {
        let kind = FileType::from_raw_mode(found.st_mode);
        matches!(kind, FileType::Fifo | FileType::Socket)
    })
}
