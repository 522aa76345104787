//! Fork, exec and wait, with a ledger for each process.

use std::{
    env,
    ffi::{CString, OsStr, c_long},
    os::fd::RawFd,
    os::unix::ffi::OsStrExt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{deadline::patient, gate::GATE_ENV, truth::FdTruth, workload::SKIPPED};

use crate::{
    ledger::Ledger,
    sys::{self, Unsupported},
};

/// Lifetime after which a workload process is killed, so that it does not outlive a broken test.
const WATCHDOG: Duration = Duration::from_secs(90);

/// Arms the watchdog. A forked child does not inherit it.
pub(crate) fn arm_watchdog() {
    let seconds = patient(WATCHDOG).as_secs().try_into().unwrap_or(u32::MAX);
    // SAFETY: takes no pointer; the default action of SIGALRM kills the process, as intended.
    unsafe { libc::alarm(seconds) };
}

/// Forks. The child runs `body` with an empty ledger, publishes it and exits.
pub(crate) fn fork(
    ledger: &Ledger,
    body: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    // SAFETY: the callers have one thread, so the child may run ordinary code.
    let clone = || c_long::from(unsafe { libc::fork() });
    start_child("fork", clone, ledger, body)
}

/// [`fork`] for a child with this pid, which must be free.
pub(crate) fn fork_as(
    pid: libc::pid_t,
    ledger: &Ledger,
    body: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    let pids = [pid];
    let clone = || {
        clone3(|arguments| {
            (arguments.set_tid, arguments.set_tid_size) = (pids.as_ptr() as u64, 1);
        })
    };
    start_child("clone3", clone, ledger, body)
}

/// `CLONE_INTO_CGROUP` (`include/uapi/linux/sched.h`).
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// [`fork`] for a child in this cgroup, given by its folder.
pub(crate) fn fork_into(
    cgroup: RawFd,
    ledger: &Ledger,
    body: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    let clone = || {
        clone3(|arguments| {
            arguments.flags = CLONE_INTO_CGROUP;
            arguments.cgroup = cgroup as u64;
        })
    };
    start_child("clone3", clone, ledger, body)
}

/// `clone3(2)` with a copy of this memory, as after `fork`. The callers have one thread.
fn clone3(adjust: impl FnOnce(&mut libc::clone_args)) -> c_long {
    // SAFETY: all-zero is a valid value: no flags, no stack, no pointers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    adjust(&mut arguments);
    let size = std::mem::size_of_val(&arguments);
    // SAFETY: the arguments, and what they point to, are valid during the call.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) }
}

fn start_child(
    call: &str,
    clone: impl FnOnce() -> c_long,
    ledger: &Ledger,
    body: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    let pid = sys::check(call, clone())? as libc::pid_t;
    if pid != 0 {
        return Ok(pid);
    }
    arm_watchdog();
    let code = catch_unwind(AssertUnwindSafe(|| run_child(ledger, body))).unwrap_or(101);
    // SAFETY: ends the child without running destructors and exit handlers of the parent.
    unsafe { libc::_exit(code) }
}

fn run_child(ledger: &Ledger, body: impl FnOnce(&mut Ledger) -> Result<()>) -> i32 {
    let result = ledger.fresh().and_then(|mut own| {
        body(&mut own)?;
        own.publish()
    });
    match result {
        Ok(()) => 0,
        Err(error) => {
            ledger.publish_failure(&format!("child: {error:#}"));
            sys::exit_code_of(&error)
        }
    }
}

/// Waits for a child; returns its raw wait status.
pub(crate) fn wait(pid: libc::pid_t) -> Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is valid for the call.
    sys::check("waitpid", c_long::from(unsafe { libc::waitpid(pid, &raw mut status, 0) }))?;
    Ok(status)
}

/// Puts `/dev/null` on an fd.
pub(crate) fn put_null_on(fd: i32) -> Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    sys::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), fd).map(drop)
}

/// Lets `head` write `size` zeros to fd 1 or 2.
pub(crate) fn write_by_program(ledger: &Ledger, fd: i32, size: usize) -> Result<()> {
    let script = format!("exec head -c {size} /dev/zero >&{fd}");
    let program = ["/bin/sh", "-c", &script].map(|word| CString::new(word).unwrap_or_default());
    let words: Vec<_> =
        program.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: this process has one thread, and the child only executes a program.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the words end with NULL. The child ends if the program does not start.
        unsafe {
            libc::execv(words[0], words.as_ptr());
            libc::_exit(127);
        }
    }
    ensure!(wait(child)? == 0, "sh failed");
    let mut row = FdTruth::new(1, tracer_tests::procfs::object_of(fd));
    (row.bytes, row.calls) = (size as u64, 1);
    ledger.publish_row_for(u32::try_from(child)?, row)
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: libc::pid_t, signal: i32) -> Result<()> {
    // SAFETY: takes no pointer.
    sys::check("kill", c_long::from(unsafe { libc::kill(child, signal) })).map(drop)
}

/// Stops a child and waits until it has stopped.
pub(crate) fn stop(child: libc::pid_t) -> Result<()> {
    signal(child, libc::SIGSTOP)?;
    let mut status = 0;
    // SAFETY: `status` is valid for the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, libc::WUNTRACED) };
    sys::check("waitpid", c_long::from(waited))?;
    ensure!(libc::WIFSTOPPED(status), "child {child} did not stop: {status:#x}");
    Ok(())
}

/// Waits for a child, which must exit with 0. For [`SKIPPED`] the error is [`Unsupported`].
pub(crate) fn wait_success(pid: libc::pid_t) -> Result<()> {
    let status = wait(pid)?;
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == SKIPPED {
        return Err(Unsupported(format!("child {pid} was skipped")).into());
    }
    ensure!(status == 0, "child {pid} ended with wait status {status:#x}");
    Ok(())
}

/// Program, arguments and environment for `execve`.
#[derive(Debug)]
pub(crate) struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// This program with other arguments and without a gate.
    pub(crate) fn of_self(words: &[&str]) -> Result<Self> {
        let program = env::current_exe().context("/proc/self/exe")?;
        let program = CString::new(program.as_os_str().as_bytes())?;
        let mut arguments = vec![program.clone()];
        for word in words {
            arguments.push(CString::new(*word)?);
        }
        let kept = env::vars_os().filter(|(name, _)| name != OsStr::new(GATE_ENV));
        let environment = kept
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<_, _>>()?;
        Ok(Self { program, arguments, environment })
    }

    /// Replaces this process; returns the error if that failed.
    pub(crate) fn exec(&self) -> anyhow::Error {
        let tables = self.tables();
        tables.exec();
        std::io::Error::from_raw_os_error(sys::errno()).into()
    }

    /// The pointer tables for `execve`.
    pub(crate) fn tables(&self) -> Tables<'_> {
        let table = |strings: &[CString]| {
            let mut table: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
            table.push(std::ptr::null());
            table
        };
        Tables {
            image: self,
            arguments: table(&self.arguments),
            environment: table(&self.environment),
        }
    }
}

/// An [`Image`] as null-terminated pointer tables.
#[derive(Debug)]
pub(crate) struct Tables<'a> {
    image: &'a Image,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

impl Tables<'_> {
    /// Replaces this process; returns only if that failed. Does not allocate.
    pub(crate) fn exec(&self) {
        let program = self.image.program.as_ptr();
        // SAFETY: both tables end with null and point to strings that `image` owns.
        unsafe { libc::execve(program, self.arguments.as_ptr(), self.environment.as_ptr()) };
    }
}
