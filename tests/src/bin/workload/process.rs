//! Making, replacing and awaiting processes, with the books kept straight.

use std::{
    env,
    ffi::{CString, OsStr, c_long},
    os::unix::ffi::OsStrExt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{deadline::patient, gate::GATE_ENV, workload::SKIPPED};

use crate::{
    ledger::Ledger,
    sys::{self, Unsupported},
};

/// Time after which any workload process is killed: none may outlive a broken test.
const WATCHDOG: Duration = Duration::from_secs(90);

/// Arms the watchdog; a forked child must do so again.
pub(crate) fn arm_watchdog() {
    let seconds = patient(WATCHDOG).as_secs().try_into().unwrap_or(u32::MAX);
    // SAFETY: takes no pointer; the default action of SIGALRM ends the process, as intended.
    unsafe { libc::alarm(seconds) };
}

/// Forks; the child runs `story` on empty books, publishes them and exits.
pub(crate) fn fork(
    ledger: &Ledger,
    story: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    // SAFETY: the callers have one thread, so the child may go on running ordinary code.
    let born = || c_long::from(unsafe { libc::fork() });
    born_by("fork", born, ledger, story)
}

/// The same for a child with this pid, which must be free.
pub(crate) fn fork_as(
    number: libc::pid_t,
    ledger: &Ledger,
    story: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    let numbers = [number];
    let born = || {
        // SAFETY: zeroes are a valid value: no flag, no stack of its own, no pointer.
        let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
        how.exit_signal = libc::SIGCHLD as u64;
        (how.set_tid, how.set_tid_size) = (numbers.as_ptr() as u64, 1);
        let size = std::mem::size_of_val(&how);
        // SAFETY: the arguments and the one number are valid during the call; without flags the child
        // has a copy of this memory, as after `fork`, and the callers have one thread.
        unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size) }
    };
    born_by("clone3", born, ledger, story)
}

fn born_by(
    call: &str,
    born: impl FnOnce() -> c_long,
    ledger: &Ledger,
    story: impl FnOnce(&mut Ledger) -> Result<()>,
) -> Result<libc::pid_t> {
    let pid = sys::check(call, born())? as libc::pid_t;
    if pid != 0 {
        return Ok(pid);
    }
    arm_watchdog();
    let code = catch_unwind(AssertUnwindSafe(|| live(ledger, story))).unwrap_or(101);
    // SAFETY: ends the child at once; the parent's destructors and exit handlers are not its.
    unsafe { libc::_exit(code) }
}

fn live(ledger: &Ledger, story: impl FnOnce(&mut Ledger) -> Result<()>) -> i32 {
    let lived = ledger.fresh().and_then(|mut own| {
        story(&mut own)?;
        own.publish()
    });
    match lived {
        Ok(()) => 0,
        Err(error) => {
            ledger.publish_failure(&format!("child: {error:#}"));
            sys::exit_code_of(&error)
        }
    }
}

/// Waits for one child; returns its raw wait status.
pub(crate) fn wait(pid: libc::pid_t) -> Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is valid for the call.
    sys::check("waitpid", c_long::from(unsafe { libc::waitpid(pid, &raw mut status, 0) }))?;
    Ok(status)
}

/// Waits for one child that must exit with 0, unless the kernel does not offer what it was to do.
pub(crate) fn wait_success(pid: libc::pid_t) -> Result<()> {
    let status = wait(pid)?;
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == SKIPPED {
        return Err(Unsupported(format!("child {pid} says why")).into());
    }
    ensure!(status == 0, "child {pid} ended with wait status {status:#x}");
    Ok(())
}

/// Program, arguments and environment, ready for `execve`.
#[derive(Debug)]
pub(crate) struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// This very program with other words, and with no gate to wait at.
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

    /// Replaces this process. Makes no allocation once the pointer tables are built.
    pub(crate) fn exec(&self) -> anyhow::Error {
        let tables = self.tables();
        tables.exec();
        std::io::Error::from_raw_os_error(sys::errno()).into()
    }

    /// The pointer tables `execve` wants.
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

/// [`Image`] in the form of pointers.
#[derive(Debug)]
pub(crate) struct Tables<'a> {
    image: &'a Image,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

impl Tables<'_> {
    /// Replaces this process; returns only if that failed. Allocates nothing.
    pub(crate) fn exec(&self) {
        let program = self.image.program.as_ptr();
        // SAFETY: both tables end in null and point into strings that `image` keeps alive.
        unsafe { libc::execve(program, self.arguments.as_ptr(), self.environment.as_ptr()) };
    }
}
