//! State inherited across exec: ignored signals, standard streams and other descriptors.
//!
//! A traced command must inherit what it would inherit without tracer, and no process may have to wait for tracer's
//! copies. Rust's runtime changes two things before `main`: it ignores SIGPIPE, and it opens /dev/null for a standard
//! stream that is closed. So this module reads both before the runtime starts, and the command gets them unchanged.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::{
    fs::{FileType, fstat},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout},
};

use super::signal::is_ignored;

/// The highest number of a signal on Linux, real-time signals included.
pub(crate) const LAST_SIGNAL: libc::c_int = 64;

/// Signals that were ignored at the start. Bit n - 1: signal n.
static IGNORED: AtomicU64 = AtomicU64::new(0);
static IS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// libc calls this before `main`, and so before Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

extern "C" fn remember() {
    let ignored = (1..=LAST_SIGNAL).filter(|signal| is_ignored(*signal));
    IGNORED.store(ignored.fold(0, |set, signal| set | 1 << (signal - 1)), Ordering::Relaxed);
    for (fd, is_closed) in (0..).zip(&IS_CLOSED) {
        // SAFETY: the call takes a number, which need not be that of an open file.
        is_closed.store(unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0, Ordering::Relaxed);
    }
}

/// Whether a signal was ignored before tracer started. Async-signal-safe.
pub(crate) fn was_ignored(signal: libc::c_int) -> bool {
    IGNORED.load(Ordering::Relaxed) >> (signal - 1) & 1 == 1
}

/// The standard streams that were closed at the start. Allocates nothing: it is called between fork and exec.
pub(crate) fn closed_streams() -> impl Iterator<Item = RawFd> {
    (0..).zip(&IS_CLOSED).filter(|(_, is_closed)| is_closed.load(Ordering::Relaxed)).map(|it| it.0)
}

/// Inherited descriptors above the standard streams: a shell's `3>&1`, or what a parent forgot to close. The command
/// has its own copies of them. Dropping this closes tracer's copies.
#[derive(Debug)]
pub(crate) struct Descriptors {
    _owned: Vec<OwnedFd>,
}

impl Descriptors {
    /// The descriptors that are open now. To be called once, before anything else is opened.
    pub(crate) fn of_this_process() -> Self {
        let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let _owned = listed
            .into_iter()
            .filter(|fd| *fd > stderr().as_raw_fd() && survived_exec(*fd))
            // SAFETY: the descriptor is open, and nothing in this process owns it: the directory that was listed is
            // closed, and what Rust opens does not survive exec.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect();
        Self { _owned }
    }
}

/// Whether a descriptor is open, and stays open across an exec.
fn survived_exec(fd: RawFd) -> bool {
    // SAFETY: the call takes a number, which need not be that of an open file.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// What takes the place of unused streams.
#[derive(Debug)]
pub(crate) struct Spare(OwnedFd);

impl Spare {
    /// Opens /dev/null, or the root directory where there is no /dev/null: tracer does not read or write it.
    ///
    /// # Errors
    /// An error if no file can be opened.
    pub(crate) fn open() -> io::Result<Self> {
        let null = fs::File::options().read(true).write(true).open("/dev/null");
        null.or_else(|_| fs::File::open("/")).map(|file| Self(file.into()))
    }
}

/// The standard streams that tracer no longer uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unused {
    /// tracer does not read it.
    pub(crate) stdin: bool,
    /// The report goes elsewhere.
    pub(crate) stdout: bool,
    /// tracer prints nothing to it.
    pub(crate) stderr: bool,
}

impl Unused {
    /// Replaces unused streams that are pipes or sockets: another process may wait until the last copy
    /// of such an end is closed.
    ///
    /// # Errors
    /// An error of `dup2(2)`, which happens only if memory is short.
    pub(crate) fn let_go(self, spare: &Spare) -> io::Result<()> {
        if self.stdin && has_another_end(stdin()) {
            dup2_stdin(&spare.0)?;
        }
        if self.stdout && has_another_end(stdout()) {
            dup2_stdout(&spare.0)?;
        }
        if self.stderr && has_another_end(stderr()) {
            dup2_stderr(&spare.0)?;
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
