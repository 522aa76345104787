//! A hostile program for the tests of tracer: `hostile SEED`. It makes random calls that are hard to trace. The same seed
//! gives the same calls. Its processes, memory, fds and running time are bounded.
//!
//! All that it writes to fd 1 arrives in one file, so the file's size is the truth about its output.

use std::{
    env,
    ffi::{CString, OsString, c_long},
    os::{
        fd::{AsRawFd as _, IntoRawFd as _, RawFd},
        unix::{ffi::OsStringExt as _, process::CommandExt as _},
    },
    process::Command,
    ptr::null_mut,
    thread,
    time::Duration,
};

use fastrand::Rng;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// Acts of one run, over all images of the process.
const ACTS: u32 = 40;
/// The kernel ends the program after this many seconds.
const SECONDS: u32 = 8;
/// Processes of one act.
const CHILDREN: u32 = 12;
/// Pipes of one act.
const PIPES: u32 = 60;
/// Size and number of the longest arguments.
const LONG: usize = 100_000;
const MANY: usize = 10;

fn main() {
    // SAFETY: takes no pointer.
    unsafe { libc::alarm(SECONDS) };
    let mut words = env::args_os().skip(1).map(|word| word.to_string_lossy().parse::<u64>());
    let (Some(Ok(seed)), acts) = (words.next(), words.next()) else {
        eprintln!("usage: hostile SEED [ACTS]");
        std::process::exit(2);
    };
    let acts = acts.and_then(Result::ok).map_or(ACTS, |acts| acts as u32);
    let mut random = Rng::with_seed(seed ^ u64::from(acts));
    for left in (0..acts).rev() {
        act(&mut random, seed, left);
    }
}

/// One act. Nothing that it tries needs to succeed.
fn act(random: &mut Rng, seed: u64, left: u32) {
    match random.u32(..16) {
        0..3 => write(1, random.usize(..5_000)),
        3 => rename(random),
        4 => drop((0..PIPES).filter_map(|_| std::io::pipe().ok().map(keep)).count()),
        5 => children(random),
        6 => traced_child(),
        7 => stopped_child(),
        8 => new_namespaces(random),
        9 => filter(random),
        10 => map_much(random),
        11 => through_a_copy(random),
        12 => race(random),
        13 => odd_stderr(random),
        14 => odd_calls(random),
        _ if left.is_multiple_of(3) => replace(random, seed, left),
        _ => thread::sleep(Duration::from_millis(random.u64(..5))),
    }
}

fn write(fd: RawFd, size: usize) {
    let bytes = vec![b'h'; size];
    // SAFETY: the buffer is valid during the call.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) };
}

fn keep((reader, writer): (std::io::PipeReader, std::io::PipeWriter)) {
    let _ = (
        std::os::fd::OwnedFd::from(reader).into_raw_fd(),
        std::os::fd::OwnedFd::from(writer).into_raw_fd(),
    );
}

/// Names with control characters, and of programs that others believe.
fn rename(random: &mut Rng) {
    let names: [&[u8]; 4] = [b"\x1b[2J\xff\n", b"dockerd", b"runc:[2:INIT]", b"containerd-shim"];
    if let Ok(name) = CString::new(names[random.usize(..names.len())]) {
        // SAFETY: the string is valid during the call.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// Runs `body` in a child that ends after it.
fn fork(body: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child calls only what is safe after a fork of a process whose threads hold no lock.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: takes no pointer.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    child
}

fn wait(child: libc::pid_t) {
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(child, null_mut(), libc::__WALL) };
}

/// Children that write at the same time; some kill themselves, and some are left behind.
fn children(random: &mut Rng) {
    for _ in 0..random.u32(..CHILDREN) {
        let (size, signal) = (random.usize(..500), random.i32(..16));
        let child = fork(|| {
            write(1, size);
            // SAFETY: takes no pointer.
            unsafe { libc::raise(signal) };
        });
        if random.bool() {
            wait(child);
        }
    }
}

fn traced_child() {
    let child = fork(|| {
        // SAFETY: takes no pointer that is used.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        // SAFETY: takes no pointer.
        unsafe { libc::raise(libc::SIGSTOP) };
        write(1, 77);
    });
    wait(child);
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_CONT, child, 0, 0) };
    wait(child);
}

fn stopped_child() {
    let child = fork(|| {
        write(1, 5);
        // SAFETY: takes no pointer.
        unsafe { libc::raise(libc::SIGSTOP) };
        write(1, 6);
    });
    let signal = if child % 2 == 0 { libc::SIGCONT } else { libc::SIGKILL };
    // SAFETY: a null status is allowed.
    while unsafe { libc::waitpid(child, null_mut(), libc::WNOHANG) } == 0 {
        thread::sleep(Duration::from_millis(2));
        // SAFETY: takes no pointer.
        unsafe { libc::kill(child, signal) };
    }
}

fn new_namespaces(random: &mut Rng) {
    let all = [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWPID, libc::CLONE_NEWNET];
    let flags = all.into_iter().filter(|_| random.bool()).fold(0, |set, flag| set | flag);
    let size = random.usize(..300);
    wait(fork(|| {
        // SAFETY: takes no pointer.
        unsafe { libc::unshare(flags) };
        write(1, size);
    }));
}

/// A filter that refuses or traps writes of one size.
fn filter(random: &mut Rng) {
    let action = if random.bool() { libc::SECCOMP_RET_ERRNO | 5 } else { libc::SECCOMP_RET_TRAP };
    let jump = |offset: u32, value: u32| {
        let (load, compare) = (
            (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        );
        [
            libc::sock_filter { code: load, jt: 0, jf: 0, k: offset },
            libc::sock_filter { code: compare, jt: 1, jf: 0, k: value },
            libc::sock_filter {
                code: libc::BPF_RET as u16,
                jt: 0,
                jf: 0,
                k: libc::SECCOMP_RET_ALLOW,
            },
        ]
    };
    let end = libc::sock_filter { code: libc::BPF_RET as u16, jt: 0, jf: 0, k: action };
    // `struct seccomp_data`: the number, and the third argument at byte 32.
    let mut code = [jump(0, libc::SYS_write as u32), jump(32, 31)].concat();
    code.push(end);
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    wait(fork(|| {
        // SAFETY: the program is valid during the calls.
        unsafe {
            libc::signal(libc::SIGSYS, libc::SIG_IGN);
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program);
        }
        write(1, 30);
        write(1, 31);
        write(1, 32);
    }));
}

fn map_much(random: &mut Rng) {
    let size = 1_usize << random.u32(20..36);
    // SAFETY: a new mapping that nothing uses.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = libc::mmap(null_mut(), size, libc::PROT_READ, flags, -1, 0);
        // Fails without a capability.
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_ARG_END, at, 0, 0);
    }
}

/// Writes through another number of fd 1, by a message of many segments.
fn through_a_copy(random: &mut Rng) {
    // SAFETY: takes no pointer.
    let copy = unsafe { libc::fcntl(1, libc::F_DUPFD, random.i32(3..200)) };
    let bytes = [b'c'; 900];
    let parts = [libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: 300 }; 3];
    // SAFETY: the segments are valid during the call.
    unsafe { libc::syscall(libc::SYS_writev, c_long::from(copy), parts.as_ptr(), parts.len()) };
    if random.bool() {
        // SAFETY: the fd is this function's own.
        unsafe { libc::close(copy) };
    }
}

/// A thread writes to fd 2 while fd 2 is replaced by itself and by another file. It is not fd 1, because not every race is
/// noticed, and the output's size is the truth.
fn race(random: &mut Rng) {
    let Ok(other) = memfd_create("other", MemfdFlags::CLOEXEC) else { return };
    // SAFETY: takes no pointer.
    let stderr = unsafe { libc::dup(2) };
    let times = random.usize(..50);
    let writer = thread::spawn(move || (0..times).for_each(|_| write(2, 10)));
    for _ in 0..times {
        // SAFETY: take no pointer.
        unsafe { (libc::dup2(other.as_raw_fd(), 2), libc::dup2(stderr, 2)) };
    }
    let _ = writer.join();
}

/// fd 2 becomes a huge sparse file, or is closed.
fn odd_stderr(random: &mut Rng) {
    if random.bool()
        && let Ok(file) = memfd_create("\u{1b}[2Jhuge", MemfdFlags::CLOEXEC)
    {
        let _ = ftruncate(&file, 1 << 40);
        // SAFETY: takes no pointer.
        unsafe { libc::dup2(file.as_raw_fd(), 2) };
        write(2, 9);
    } else {
        // SAFETY: nothing uses fd 2 as a Rust value.
        unsafe { libc::close(2) };
        write(2, 8);
    }
}

/// Calls with random numbers that do no harm: they name no memory and no fd of this process.
fn odd_calls(random: &mut Rng) {
    for _ in 0..20 {
        let number = random.i64(600..1 << 40) | 1 << 31;
        // SAFETY: no call has such a number.
        unsafe { libc::syscall(number as c_long, -1, 0, 0, 0, 0, 0) };
    }
}

/// The same program with huge arguments, and a huge variable.
fn replace(random: &mut Rng, seed: u64, left: u32) {
    let odd = |size: usize| OsString::from_vec(vec![[b'a', b'\n', 0x1b, 0xff][size % 4]; size]);
    let long: Vec<OsString> =
        (0..random.usize(..MANY)).map(|_| odd(random.usize(1..LONG))).collect();
    let Ok(program) = env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args([seed.to_string(), left.to_string()]).args(long).env("LANG", odd(LONG - 3));
    // Returns only if it failed.
    let _ = command.exec();
}
