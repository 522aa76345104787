//! Processes that make what a tracer reads of them as large as they can.

use std::{
    ffi::{CString, c_long},
    fs::File,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr, thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::dup,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tracer_tests::gate;

use super::{Gate, Scenario};
use crate::{ledger::Ledger, process, sys};

/// Finds a scenario by name.
pub(super) fn find(name: &str) -> Option<Scenario> {
    let (gate, run): (_, fn(&mut Ledger) -> Result<()>) = match name {
        "declares-memory" => (Gate::Own, declares),
        "hoards" => (Gate::Own, hoards),
        "long-arguments" => (Gate::AtStart, long_arguments),
        _ => return None,
    };
    Some(Scenario { gate, run })
}

/// The user without privileges.
const NOBODY: libc::uid_t = 65534;
/// What a process declares to be its arguments and its environment.
const DECLARED: usize = 64 << 20;

/// Declares 64 MiB of memory that it never touched to be its arguments and its environment. Then it waits at the gate.
fn declares(ledger: &mut Ledger) -> Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    become_user(NOBODY)?;
    declare(&stat)?;
    // The gate and the ledger's files belong to root.
    become_user(0)?;
    gate::wait()?;
    ledger.write(1, 71)
}

/// Changes the effective user. The saved one stays root.
fn become_user(user: libc::uid_t) -> Result<()> {
    // SAFETY: takes no pointer; this process has one thread.
    let changed = c_long::from(unsafe { libc::setresuid(user, user, 0) });
    sys::check("setresuid", changed).map(drop)
}

/// `PR_SET_MM_MAP` (`prctl(2)`): the layout of this process as its `stat` has it (`proc_pid_stat(5)`), except for
/// arguments and environment.
fn declare(stat: &str) -> Result<()> {
    let (_, after_name) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields: Vec<u64> =
        after_name.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
    // The first field after the name is number 3.
    let field = |number: usize| fields.get(number - 3).copied().context("stat is short");
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, which stays until this process ends.
    let memory = unsafe { libc::mmap(ptr::null_mut(), DECLARED, protection, flags, -1, 0) };
    ensure!(memory != libc::MAP_FAILED, "mmap: errno {}", sys::errno());
    let (start, end) = (memory as u64, memory as u64 + DECLARED as u64);
    // SAFETY: only returns the end of the heap.
    let heap_end = unsafe { libc::sbrk(0) } as u64;
    // The members of `struct prctl_mm_map`, each 8 bytes; then no new auxiliary vector and no new executable.
    let map: [u64; 13] = [
        field(26)?,
        field(27)?,
        field(45)?,
        field(46)?,
        field(47)?,
        heap_end,
        field(28)?,
        start,
        end,
        start,
        end,
        0,
        u64::from(u32::MAX) << 32,
    ];
    let size = std::mem::size_of_val(&map);
    // SAFETY: the struct is valid for the call, which only changes numbers that the kernel shows.
    let set = unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, map.as_ptr(), size, 0) };
    sys::check("PR_SET_MM_MAP", set.into()).map(drop)
}

/// Starts 60 programs, each with 1.6 MB of arguments of its own.
fn long_arguments(ledger: &mut Ledger) -> Result<()> {
    const PROGRAMS: usize = 60;
    const LONGEST: usize = 100_000;
    for number in 0..PROGRAMS {
        let long = CString::new(format!("{number:060}{}", "x".repeat(LONGEST - 60)))?;
        let mut argv = vec![c"true".as_ptr()];
        argv.extend([long.as_ptr(); 16]);
        argv.push(ptr::null());
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the strings are valid, and a child that could not start the program ends.
            unsafe {
                libc::setresuid(NOBODY, NOBODY, NOBODY);
                libc::execv(c"/bin/true".as_ptr(), argv.as_ptr());
                libc::_exit(9);
            }
        }
        ensure!(child > 0 && process::wait(child)? == 0, "program {number} failed");
    }
    // Its end is the end of the trace, whose memory is looked at before.
    thread::sleep(Duration::from_millis(300));
    ledger.write(1, 72)
}

/// Has up to 360,000 files open in 20 processes until the gate opens.
fn hoards(ledger: &mut Ledger) -> Result<()> {
    const PROCESSES: usize = 20;
    const FILES: u64 = 18_000;
    /// Files that a process has open besides.
    const OTHERS: u64 = 32;
    let (read, write) = sys::pipe()?;
    let mut children = Vec::new();
    for _ in 0..PROCESSES {
        children.push(process::fork(ledger, |_| {
            let most = getrlimit(Resource::Nofile).maximum;
            setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
            let zero = File::open("/dev/zero")?;
            let files = most.map_or(FILES, |most| FILES.min(most.saturating_sub(OTHERS)));
            let files: Vec<OwnedFd> = (0..files).map(|_| dup(&zero)).collect::<Result<_, _>>()?;
            rustix::io::write(&write, &[1])?;
            thread::sleep(Duration::from_secs(60));
            drop(files);
            Ok(())
        })?);
    }
    drop(write);
    for _ in 0..PROCESSES {
        ensure!(sys::read(read.as_raw_fd(), &mut [0]) == Ok(1), "a process has no files");
    }
    ledger.publish()?;
    gate::wait()?;
    for child in children {
        // SAFETY: takes no pointer.
        unsafe { libc::kill(child, libc::SIGKILL) };
        process::wait(child)?;
    }
    Ok(())
}
