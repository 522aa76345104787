//! The system calls that the programs look at, and the kernel's functions for them.
//!
//! Their numbers are those of `tracer-ebpf/src/syscalls/table.rs`. The names of the functions are in the third column of
//! the kernel's tables (`arch/x86/entry/syscalls/syscall_64.tbl` and `syscall_32.tbl`, `include/uapi/asm-generic/unistd.h`
//! for arm64, Linux 5.10 to 7.2), without the prefix of [`PREFIXES`].

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead as _, BufReader},
};

/// Calls of the native entry: number and function.
#[rustfmt::skip]
const NATIVE: &[(i64, &str)] = &[
    (libc::SYS_read, "read"), (libc::SYS_write, "write"), (libc::SYS_close, "close"), (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_pread64, "pread64"), (libc::SYS_pwrite64, "pwrite64"), (libc::SYS_readv, "readv"),
    (libc::SYS_writev, "writev"), (libc::SYS_pipe2, "pipe2"), (libc::SYS_socketpair, "socketpair"),
    (libc::SYS_dup, "dup"), (libc::SYS_dup3, "dup3"), (libc::SYS_sendfile, "sendfile64"),
    (libc::SYS_connect, "connect"), (libc::SYS_sendto, "sendto"), (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_sendmsg, "sendmsg"), (libc::SYS_recvmsg, "recvmsg"), (libc::SYS_execve, "execve"),
    (libc::SYS_fcntl, "fcntl"), (libc::SYS_ftruncate, "ftruncate"), (libc::SYS_io_submit, "io_submit"),
    (libc::SYS_openat, "openat"), (libc::SYS_splice, "splice"), (libc::SYS_tee, "tee"),
    (libc::SYS_vmsplice, "vmsplice"), (libc::SYS_preadv, "preadv"), (libc::SYS_pwritev, "pwritev"),
    (libc::SYS_recvmmsg, "recvmmsg"), (libc::SYS_sendmmsg, "sendmmsg"), (libc::SYS_seccomp, "seccomp"),
    (libc::SYS_execveat, "execveat"), (libc::SYS_copy_file_range, "copy_file_range"),
    (libc::SYS_preadv2, "preadv2"), (libc::SYS_pwritev2, "pwritev2"),
    (libc::SYS_mq_timedsend, "mq_timedsend"), (libc::SYS_mq_timedreceive, "mq_timedreceive"),
    (libc::SYS_io_uring_enter, "io_uring_enter"), (libc::SYS_close_range, "close_range"),
    (libc::SYS_openat2, "openat2"), (libc::SYS_fallocate, "fallocate"), (libc::SYS_socket, "socket"),
    (libc::SYS_accept, "accept"), (libc::SYS_accept4, "accept4"), (libc::SYS_memfd_create, "memfd_create"),
    (libc::SYS_pidfd_getfd, "pidfd_getfd"),
    // These exist on x86-64 only.
    #[cfg(target_arch = "x86_64")] (libc::SYS_open, "open"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_creat, "creat"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_pipe, "pipe"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_dup2, "dup2"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_eventfd, "eventfd"),
    #[cfg(target_arch = "x86_64")] (libc::SYS_eventfd2, "eventfd2"),
    // The generic table has an `eventfd2` too, which the programs on arm64 do not look at yet.
];

/// Calls of the 32-bit entry: number and function.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const COMPAT: &[(i64, &str)] = &[
    (3, "read"), (4, "write"), (5, "open"), (6, "close"), (8, "creat"), (11, "execve"), (41, "dup"), (42, "pipe"),
    (331, "pipe2"), (360, "socketpair"), (54, "ioctl"), (55, "fcntl"), (63, "dup2"), (93, "ftruncate"),
    (102, "socketcall"), (145, "readv"), (146, "writev"), (180, "ia32_pread64"), (181, "ia32_pwrite64"),
    (194, "ia32_ftruncate64"), (187, "sendfile"), (221, "fcntl64"), (239, "sendfile64"), (248, "io_submit"),
    (295, "openat"), (323, "eventfd"), (328, "eventfd2"), (313, "splice"), (315, "tee"), (316, "vmsplice"),
    (330, "dup3"), (333, "preadv"), (334, "pwritev"), (337, "recvmmsg_time32"), (345, "sendmmsg"),
    (354, "seccomp"), (358, "execveat"), (362, "connect"), (369, "sendto"), (370, "sendmsg"), (371, "recvfrom"),
    (372, "recvmsg"), (377, "copy_file_range"), (378, "preadv2"), (279, "mq_timedsend_time32"),
    (280, "mq_timedreceive_time32"), (418, "mq_timedsend"), (419, "mq_timedreceive"), (379, "pwritev2"),
    (417, "recvmmsg_time64"), (426, "io_uring_enter"), (436, "close_range"), (437, "openat2"),
    (324, "ia32_fallocate"), (356, "memfd_create"), (359, "socket"), (364, "accept4"), (438, "pidfd_getfd"),
];

/// 32-bit ARM callers are not supported yet.
#[cfg(not(target_arch = "x86_64"))]
const COMPAT: &[(i64, &str)] = &[];

/// Calls of the x32 ABI that move bytes and have a function of their own. They are counted as not covered.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const X32: &[(i64, &str)] = &[
    (517, "recvfrom"), (518, "sendmsg"), (519, "recvmsg"), (534, "preadv64"), (535, "pwritev64"),
    (537, "recvmmsg_time64"), (538, "sendmmsg"), (546, "preadv64v2"), (547, "pwritev64v2"),
];
#[cfg(not(target_arch = "x86_64"))]
const X32: &[(i64, &str)] = &[];

/// What the kernel puts before the name of a function that gets the saved registers (`arch/x86/include/asm/
/// syscall_wrapper.h`, `arch/arm64/include/asm/syscall_wrapper.h`).
#[cfg(target_arch = "x86_64")]
const PREFIXES: [(&str, &[(i64, &str)]); 4] = [
    ("__x64_sys_", NATIVE),
    ("__x64_compat_sys_", X32),
    ("__ia32_sys_", COMPAT),
    ("__ia32_compat_sys_", COMPAT),
];
#[cfg(not(target_arch = "x86_64"))]
const PREFIXES: [(&str, &[(i64, &str)]); 1] = [("__arm64_sys_", NATIVE)];

/// The function of a call that every kernel has.
pub(super) const OF_READ: &str =
    if cfg!(target_arch = "x86_64") { "__x64_sys_read" } else { "__arm64_sys_read" };

/// Whether the programs look at calls with this number, of the native or of the 32-bit entry.
#[must_use]
pub fn is_looked_at(number: i64) -> bool {
    [NATIVE, COMPAT, X32].into_iter().flatten().any(|(known, _)| *known == number)
}

/// The functions of these calls that this kernel has, sorted. A function that is not there cannot be called.
///
/// # Errors
/// `/proc/kallsyms` cannot be read.
pub(super) fn functions() -> io::Result<BTreeSet<String>> {
    let symbols = BufReader::new(File::open("/proc/kallsyms")?);
    functions_among(symbols.split(b'\n'))
}

/// The functions among lines of `/proc/kallsyms`: address, type, name.
fn functions_among(
    lines: impl Iterator<Item = io::Result<Vec<u8>>>,
) -> io::Result<BTreeSet<String>> {
    let all = PREFIXES
        .iter()
        .flat_map(|(prefix, calls)| calls.iter().map(move |(_, name)| format!("{prefix}{name}")));
    let all: BTreeSet<String> = all.collect();
    let mut found = BTreeSet::new();
    for line in lines {
        let line = line?;
        let name = line.split(|byte| *byte == b' ').nth(2).unwrap_or_default();
        let Ok(name) = str::from_utf8(name) else { continue };
        if name.starts_with("__") && all.contains(name) {
            found.insert(name.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of a table in the source of the eBPF programs, except those of calls of which only facts are told.
    fn numbers(table: &str) -> BTreeSet<i64> {
        let source = include_str!("../../../tracer-ebpf/src/syscalls/table.rs");
        // The tables of x86-64 are the first ones.
        let start = source.find(&format!("const {table}: &[(usize, u32)]")).unwrap();
        let text = &source[start..start + source[start..].find("];").unwrap()];
        let number = |part: &str| match part.split_once(',')? {
            (_, class) if class.starts_with(" STAT)") => None,
            (number, _) => number.parse().ok(),
        };
        text.split('(').filter_map(number).collect()
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_call_with_a_class_has_a_function() {
        for (table, calls) in [("NATIVE", NATIVE), ("COMPAT", COMPAT)] {
            let known: BTreeSet<i64> = calls.iter().map(|(number, _)| *number).collect();
            assert_eq!(known, numbers(table), "{table}");
            assert_eq!(known.len(), calls.len(), "{table}");
        }
    }

    #[test]
    fn the_kernels_functions_are_found_among_its_symbols() {
        let lines = [
            "0000000000000000 T __x64_sys_write",
            "0000000000000000 t __pfx___x64_sys_read",
            "0000000000000000 T __ia32_compat_sys_socketcall",
            "0000000000000000 T __x64_sys_getppid",
            "0000000000000000 T __x64_sys_read\t[module]",
            "",
        ];
        let lines = lines.into_iter().map(|line| Ok(line.as_bytes().to_vec()));
        let found = functions_among(lines).unwrap();
        if cfg!(target_arch = "x86_64") {
            let names: Vec<_> = found.iter().map(String::as_str).collect();
            assert_eq!(names, ["__ia32_compat_sys_socketcall", "__x64_sys_write"]);
        }
    }

    #[test]
    fn only_calls_that_the_programs_look_at_are_told() {
        assert!([libc::SYS_write, libc::SYS_execve].into_iter().all(is_looked_at));
        assert!(![libc::SYS_futex, libc::SYS_epoll_wait, -1].into_iter().any(is_looked_at));
    }
}
