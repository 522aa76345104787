//! Starts jobs: processes in the cgroup, with pipes or files as their streams.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStrExt as _, fs::symlink, process::ExitStatusExt as _},
    },
    path::Path,
    process::ExitStatus,
};

use anyhow::{Context as _, Result, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use tempfile::TempDir;

/// `CLONE_INTO_CGROUP` (`include/uapi/linux/sched.h`).
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Where jobs are started.
pub(super) struct Spawner {
    cgroup: File,
    /// Has links to this program, one for each name of a job.
    names: TempDir,
    null: File,
}

/// What a started job does.
pub(super) enum Work<'a> {
    /// Writes this many bytes to stdout and to stderr, and ends: no program of its own.
    Write(usize, usize),
    /// This program under another name, with these arguments.
    Program(&'a str, &'a [&'a str]),
}

/// The streams of a job.
#[derive(Default)]
pub(super) struct Streams {
    /// Its stdin.
    pub(super) stdin: Option<OwnedFd>,
    /// Its stdout.
    pub(super) stdout: Option<OwnedFd>,
    /// Its stderr.
    pub(super) stderr: Option<OwnedFd>,
}

/// A started process that must be waited for.
#[must_use]
pub(super) struct Started(libc::pid_t);

impl Spawner {
    pub(super) fn new(cgroup: &Path) -> Result<Self> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let cgroup =
            File::open(cgroup).with_context(|| format!("no cgroup {}", cgroup.display()))?;
        let spawner = Self { cgroup, names: TempDir::new()?, null };
        spawner.nothing_inherited()?;
        Ok(spawner)
    }

    /// A folder for files of jobs.
    pub(super) fn folder(&self) -> &Path {
        self.names.path()
    }

    /// Starts a job.
    ///
    /// The streams are made fds 0, 1 and 2 here, before the fork: a job that runs no program of its own has them from
    /// its beginning.
    pub(super) fn start(&self, work: &Work<'_>, streams: Streams) -> Result<Started> {
        let program = match work {
            Work::Write(..) => None,
            Work::Program(name, arguments) => Some(self.command(name, arguments)?),
        };
        for (fd, file) in [(0, &streams.stdin), (1, &streams.stdout), (2, &streams.stderr)] {
            if let Some(file) = file {
                dup_to(file, fd)?;
            }
        }
        let pid = clone_into(self.cgroup.as_raw_fd());
        if pid == 0 {
            in_child(work, program.as_deref());
        }
        let error = io::Error::last_os_error();
        // Only the job has its ends of pipes from now on.
        drop(streams);
        self.nothing_inherited()?;
        ensure!(pid > 0, "clone3: {error}");
        Ok(Started(pid.try_into()?))
    }

    /// Makes fds 0 to 2 lead to `/dev/null`.
    fn nothing_inherited(&self) -> Result<()> {
        (0..=2).try_for_each(|fd| dup_to(&self.null, fd))
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Result<Vec<CString>> {
        let path = self.names.path().join(name);
        if !path.exists() {
            let own = fs::read_link("/proc/self/exe")?;
            symlink(&own, &path).with_context(|| format!("cannot link {}", path.display()))?;
        }
        let words = [path.as_os_str(), OsStr::new(name), OsStr::new("do")];
        let words = words.into_iter().chain(arguments.iter().map(OsStr::new));
        Ok(words.map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?)
    }
}

/// The child's part of [`Spawner::start`]: allocates nothing.
fn in_child(work: &Work<'_>, program: Option<&[CString]>) -> ! {
    match work {
        Work::Write(stdout, stderr) => {
            // SAFETY: no Rust value of this child uses the fds that are closed.
            unsafe { libc::close_range(3, u32::MAX, 0) };
            let is_written = write_all(1, *stdout) && write_all(2, *stderr);
            // SAFETY: ends the child without running destructors inherited from the parent.
            unsafe { libc::_exit(i32::from(!is_written)) }
        }
        Work::Program(..) => {
            if let Some([path, words @ ..]) = program {
                let mut argv = [std::ptr::null(); 16];
                for (to, word) in argv[..15].iter_mut().zip(words) {
                    *to = word.as_ptr();
                }
                // SAFETY: the path and the arguments are C strings, and the list ends with a null pointer.
                unsafe { libc::execv(path.as_ptr(), argv.as_ptr()) };
            }
            // SAFETY: as above.
            unsafe { libc::_exit(127) }
        }
    }
}

/// Text for jobs to write.
static TEXT: [u8; 4096] = [b'j'; 4096];

/// Writes a number of bytes. Returns whether that worked.
pub(super) fn write_all(fd: RawFd, bytes: usize) -> bool {
    let mut left = bytes;
    while left > 0 {
        // SAFETY: the buffer is valid for this length.
        let wrote = unsafe { libc::write(fd, TEXT.as_ptr().cast(), left.min(TEXT.len())) };
        match usize::try_from(wrote) {
            Ok(wrote) => left -= wrote,
            Err(_) => return false,
        }
    }
    true
}

/// `clone3(2)` with a copy of this memory, as after `fork`, into a cgroup. This program has one thread.
fn clone_into(cgroup: RawFd) -> libc::c_long {
    // SAFETY: all-zero is a valid value: no flags, no stack, no pointers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.cgroup = cgroup as u64;
    let size = std::mem::size_of_val(&arguments);
    // SAFETY: the arguments are valid during the call.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) }
}

/// Makes `number` a duplicate of a file.
fn dup_to(file: impl AsFd, number: RawFd) -> Result<()> {
    // SAFETY: takes no pointer; the callers pass only 0, 1 and 2, which no Rust value owns.
    let fd = unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) };
    ensure!(fd == number, "dup2: {}", io::Error::last_os_error());
    Ok(())
}

/// A pipe: the end to read from, and the other one.
pub(super) fn pipe() -> Result<(File, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    Ok((read.into(), write))
}

/// Reads to the end and returns how much that was.
pub(super) fn read_all(mut from: &File) -> Result<u64> {
    let (mut buffer, mut sum) = ([0; 65_536], 0);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(sum),
            read => sum += read as u64,
        }
    }
}

impl Started {
    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.0.unsigned_abs()
    }

    /// Waits until it ends.
    pub(super) fn wait(self) -> Result<ExitStatus> {
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        ensure!(waited == self.0, "waitpid: {}", io::Error::last_os_error());
        Ok(ExitStatus::from_raw(status))
    }

    /// Waits until it ends, which must be with success.
    pub(super) fn succeeds(self) -> Result<()> {
        let status = self.wait()?;
        ensure!(status.success(), "a job ended with {status}");
        Ok(())
    }
}
