//! Codes of the operations that transfer bytes.

/// Names in code order; `NAMES[code]` is the syscall or io_uring operation.
#[rustfmt::skip]
pub const NAMES: [&str; 27] = [
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg",
    "sendfile", "splice", "tee", "vmsplice", "copy_file_range", "io_uring", "read", "pread64",
    "readv", "preadv", "preadv2", "recvfrom", "recvmsg", "recvmmsg", "io_uring_worker", "other",
    "mq_timedsend", "mq_timedreceive", "ficlone",
];

/// `write(2)`.
pub const WRITE: u32 = 0;
/// `pwrite64(2)`.
pub const PWRITE64: u32 = 1;
/// `writev(2)`.
pub const WRITEV: u32 = 2;
/// `pwritev(2)`.
pub const PWRITEV: u32 = 3;
/// `pwritev2(2)`.
pub const PWRITEV2: u32 = 4;
/// `sendto(2)`, which is also `send(2)`.
pub const SENDTO: u32 = 5;
/// `sendmsg(2)`.
pub const SENDMSG: u32 = 6;
/// `sendmmsg(2)`.
pub const SENDMMSG: u32 = 7;
/// `sendfile(2)`.
pub const SENDFILE: u32 = 8;
/// `splice(2)`.
pub const SPLICE: u32 = 9;
/// `tee(2)`.
pub const TEE: u32 = 10;
/// `vmsplice(2)`.
pub const VMSPLICE: u32 = 11;
/// `copy_file_range(2)`.
pub const COPY_FILE_RANGE: u32 = 12;
/// An io_uring request.
pub const IO_URING: u32 = 13;
/// `read(2)`.
pub const READ: u32 = 14;
/// `pread64(2)`.
pub const PREAD64: u32 = 15;
/// `readv(2)`.
pub const READV: u32 = 16;
/// `preadv(2)`.
pub const PREADV: u32 = 17;
/// `preadv2(2)`.
pub const PREADV2: u32 = 18;
/// `recvfrom(2)`, which is also `recv(2)`.
pub const RECVFROM: u32 = 19;
/// `recvmsg(2)`.
pub const RECVMSG: u32 = 20;
/// `recvmmsg(2)`.
pub const RECVMMSG: u32 = 21;
/// `mq_timedsend(2)`, which is also `mq_send(3)`.
pub const MQ_SEND: u32 = 24;
/// `mq_timedreceive(2)`, which is also `mq_receive(3)`.
pub const MQ_RECEIVE: u32 = 25;
/// `ioctl(2)` with `FICLONE` or `FICLONERANGE`.
pub const FICLONE: u32 = 26;
