//! Maps syscall numbers to classes, for the native and the 32-bit entry.
//!
//! Numbers: `arch/x86/entry/syscalls/syscall_64.tbl` and `syscall_32.tbl`; arm64 uses the generic
//! table in `include/uapi/asm-generic/unistd.h`.

use tracer_common::op;

/// The class of a transfer is `IO_BASE + op`.
pub(crate) const IO_BASE: u32 = 1;
/// The last class that is a transfer.
pub(crate) const IO_LAST: u32 = IO_BASE + op::RECVMMSG;
/// `mq_timedsend(2)`, a transfer.
pub(crate) const MQ_SEND: u32 = IO_BASE + op::MQ_SEND;
/// `mq_timedreceive(2)`, a transfer.
pub(crate) const MQ_RECEIVE: u32 = IO_BASE + op::MQ_RECEIVE;
/// `socketcall(2)`, 32-bit only: a transfer or a connect, by its first argument.
pub(crate) const SOCKETCALL: u32 = 30;
/// `ioctl(2)`.
pub(crate) const IOCTL: u32 = 32;
/// `connect(2)`.
pub(crate) const CONNECT: u32 = 33;
/// `execve(2)`.
pub(crate) const EXECVE: u32 = 34;
/// `execveat(2)`.
pub(crate) const EXECVEAT: u32 = 35;
/// The result is another fd of an open file: `dup dup2 dup3`.
pub(crate) const DUP: u32 = 36;
/// `open(2)`. Like the four that follow, its result is an fd of a new open file.
pub(crate) const OPEN: u32 = 47;
/// `openat(2)`.
pub(crate) const OPENAT: u32 = 49;
/// `openat2(2)`.
pub(crate) const OPENAT2: u32 = 50;
/// `creat(2)`.
pub(crate) const CREAT: u32 = 51;
/// Calls that open no path: `eventfd eventfd2 memfd_create socket accept accept4 pidfd_getfd`.
pub(crate) const NEW_FILE: u32 = 52;
/// The flag of [`OPEN`] and its kin that empties the file (`include/uapi/asm-generic/fcntl.h`).
pub(crate) const O_TRUNC: u64 = 0o1000;
/// `fallocate(2)`.
pub(crate) const FALLOCATE: u32 = 53;
/// `fcntl(2)`.
pub(crate) const FCNTL: u32 = 37;
/// `close(2)`.
pub(crate) const CLOSE: u32 = 38;
/// `close_range(2)`.
pub(crate) const CLOSE_RANGE: u32 = 39;
/// `pipe(2)` and `pipe2(2)`.
pub(crate) const PIPE: u32 = 42;
/// `socketpair(2)`.
pub(crate) const SOCKETPAIR: u32 = 43;
/// A call that the caller's tracer emulated, whatever its number ([`super::witness`]).
pub(crate) const EMULATED: u32 = 44;
/// `seccomp(2)`, after which a supervisor may answer calls.
pub(crate) const SECCOMP: u32 = 45;
/// `ftruncate(2)`.
pub(crate) const FTRUNCATE: u32 = 46;
/// `fstat newfstatat statx`, which of a file that is open have its fd as the first argument.
pub(crate) const STAT: u32 = 48;
/// `io_submit(2)`.
pub(crate) const AIO: u32 = 40;
/// `io_uring_enter(2)`.
pub(crate) const URING_ENTER: u32 = 41;

/// Numbers at and above this have no class.
pub(crate) const NUMBERS: usize = 512;

const fn io(op: u32) -> u32 {
    IO_BASE + op
}

/// `(number, class)` pairs of the native entry.
#[cfg(any(bpf_target_arch = "x86_64", not(target_arch = "bpf")))]
#[rustfmt::skip]
const NATIVE: &[(usize, u32)] = &[
    (0, io(op::READ)), (1, io(op::WRITE)), (2, OPEN), (3, CLOSE), (5, STAT), (16, IOCTL),
    (17, io(op::PREAD64)), (18, io(op::PWRITE64)), (19, io(op::READV)), (20, io(op::WRITEV)),
    (22, PIPE), (53, SOCKETPAIR), (293, PIPE),
    (32, DUP), (33, DUP), (40, io(op::SENDFILE)), (42, CONNECT), (44, io(op::SENDTO)),
    (45, io(op::RECVFROM)), (46, io(op::SENDMSG)), (47, io(op::RECVMSG)), (59, EXECVE),
    (72, FCNTL), (77, FTRUNCATE), (85, CREAT), (209, AIO), (257, OPENAT), (262, STAT), (275, io(op::SPLICE)),
    (276, io(op::TEE)), (278, io(op::VMSPLICE)), (292, DUP), (295, io(op::PREADV)),
    (296, io(op::PWRITEV)), (299, io(op::RECVMMSG)), (307, io(op::SENDMMSG)), (317, SECCOMP), (322, EXECVEAT), (332, STAT),
    (326, io(op::COPY_FILE_RANGE)), (327, io(op::PREADV2)), (328, io(op::PWRITEV2)),
    (284, NEW_FILE), (285, FALLOCATE), (290, NEW_FILE), (242, MQ_SEND), (243, MQ_RECEIVE), (426, URING_ENTER), (436, CLOSE_RANGE), (437, OPENAT2),
    (41, NEW_FILE), (43, NEW_FILE), (288, NEW_FILE), (319, NEW_FILE), (438, NEW_FILE),
];

/// `(number, class)` pairs of the native entry.
#[cfg(bpf_target_arch = "aarch64")]
#[rustfmt::skip]
const NATIVE: &[(usize, u32)] = &[
    (2, AIO), (19, NEW_FILE), (59, PIPE), (199, SOCKETPAIR), (23, DUP), (24, DUP), (25, FCNTL), (29, IOCTL), (46, FTRUNCATE), (47, FALLOCATE), (56, OPENAT), (57, CLOSE), (79, STAT), (80, STAT),
    (63, io(op::READ)), (64, io(op::WRITE)), (65, io(op::READV)), (66, io(op::WRITEV)),
    (67, io(op::PREAD64)), (68, io(op::PWRITE64)), (69, io(op::PREADV)), (70, io(op::PWRITEV)),
    (71, io(op::SENDFILE)), (75, io(op::VMSPLICE)), (76, io(op::SPLICE)), (77, io(op::TEE)),
    (203, CONNECT), (206, io(op::SENDTO)), (207, io(op::RECVFROM)), (211, io(op::SENDMSG)),
    (212, io(op::RECVMSG)), (221, EXECVE), (243, io(op::RECVMMSG)), (269, io(op::SENDMMSG)), (277, SECCOMP),
    (281, EXECVEAT), (285, io(op::COPY_FILE_RANGE)), (286, io(op::PREADV2)), (291, STAT),
    (182, MQ_SEND), (183, MQ_RECEIVE), (287, io(op::PWRITEV2)), (426, URING_ENTER), (436, CLOSE_RANGE), (437, OPENAT2),
    (198, NEW_FILE), (202, NEW_FILE), (242, NEW_FILE), (279, NEW_FILE), (438, NEW_FILE),
];

/// `(number, class)` pairs of the 32-bit entry (`int 0x80`, `sysenter`).
#[cfg(any(bpf_target_arch = "x86_64", not(target_arch = "bpf")))]
#[rustfmt::skip]
const COMPAT: &[(usize, u32)] = &[
    (3, io(op::READ)), (4, io(op::WRITE)), (5, OPEN), (6, CLOSE), (8, CREAT), (11, EXECVE),
    (41, DUP), (42, PIPE), (331, PIPE), (360, SOCKETPAIR), (54, IOCTL), (55, FCNTL), (63, DUP), (93, FTRUNCATE), (102, SOCKETCALL), (108, STAT),
    (145, io(op::READV)), (146, io(op::WRITEV)), (180, io(op::PREAD64)),
    (181, io(op::PWRITE64)), (194, FTRUNCATE), (197, STAT), (300, STAT), (383, STAT), (187, io(op::SENDFILE)), (221, FCNTL), (239, io(op::SENDFILE)),
    (248, AIO), (295, OPENAT), (323, NEW_FILE), (324, FALLOCATE), (328, NEW_FILE), (313, io(op::SPLICE)), (315, io(op::TEE)),
    (316, io(op::VMSPLICE)), (330, DUP), (333, io(op::PREADV)), (334, io(op::PWRITEV)),
    (337, io(op::RECVMMSG)), (345, io(op::SENDMMSG)), (354, SECCOMP), (358, EXECVEAT), (362, CONNECT),
    (369, io(op::SENDTO)), (370, io(op::SENDMSG)), (371, io(op::RECVFROM)),
    (372, io(op::RECVMSG)), (377, io(op::COPY_FILE_RANGE)), (378, io(op::PREADV2)),
    (279, MQ_SEND), (280, MQ_RECEIVE), (418, MQ_SEND), (419, MQ_RECEIVE),
    (379, io(op::PWRITEV2)), (417, io(op::RECVMMSG)), (426, URING_ENTER), (436, CLOSE_RANGE),
    (437, OPENAT2), (356, NEW_FILE), (359, NEW_FILE), (364, NEW_FILE), (438, NEW_FILE),
];

/// 32-bit ARM callers are not supported yet: without numbers, no call is decoded wrongly.
#[cfg(bpf_target_arch = "aarch64")]
const COMPAT: &[(usize, u32)] = &[];

const fn build() -> [u16; NUMBERS] {
    let mut table = [0u16; NUMBERS];
    let mut index = 0;
    while index < NATIVE.len() {
        table[NATIVE[index].0] |= NATIVE[index].1 as u16;
        index += 1;
    }
    index = 0;
    while index < COMPAT.len() {
        table[COMPAT[index].0] |= (COMPAT[index].1 as u16) << 8;
        index += 1;
    }
    table
}

/// Low byte: class of the native entry; high byte: class of the 32-bit entry. For most syscalls both are zero, so
/// that one load is enough to skip them.
static CLASSES: [u16; NUMBERS] = build();

/// Both classes of a number, 0 if it has none.
#[inline(always)]
pub(crate) fn classes(number: u64) -> u32 {
    if number >= NUMBERS as u64 {
        return 0;
    }
    // SAFETY: bounded above; volatile, so that it remains one indexed load from `.rodata`.
    u32::from(unsafe {
        core::ptr::read_volatile((&raw const CLASSES).cast::<u16>().add(number as usize))
    })
}

/// Whether the result of a class is an fd of a new open file.
#[inline(always)]
pub(crate) fn is_open(class: u32) -> bool {
    class == OPEN || (OPENAT..=NEW_FILE).contains(&class)
}

/// Whether a class moves bytes.
#[inline(always)]
pub(crate) fn is_io(class: u32) -> bool {
    (IO_BASE..=IO_LAST).contains(&class) || matches!(class, MQ_SEND | MQ_RECEIVE | SOCKETCALL)
}
