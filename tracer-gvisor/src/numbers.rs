//! Numbers of the system calls that gVisor tells by number only.

/// One table for each architecture that gVisor runs on.
macro_rules! numbers {
    ($($name:ident = $number:expr,)*) => {
        $(pub(crate) const $name: u64 = $number as u64;)*
        /// All of them.
        pub(crate) const RAW: [u64; [$($number),*].len()] = [$($number as u64),*];
    };
}

numbers! {
    IOCTL = libc::SYS_ioctl,
    SENDFILE = libc::SYS_sendfile,
    SENDTO = libc::SYS_sendto,
    SENDMSG = libc::SYS_sendmsg,
    SENDMMSG = libc::SYS_sendmmsg,
    RECVFROM = libc::SYS_recvfrom,
    RECVMSG = libc::SYS_recvmsg,
    RECVMMSG = libc::SYS_recvmmsg,
    SPLICE = libc::SYS_splice,
    TEE = libc::SYS_tee,
    VMSPLICE = libc::SYS_vmsplice,
    COPY_FILE_RANGE = libc::SYS_copy_file_range,
    FTRUNCATE = libc::SYS_ftruncate,
    CLOSE_RANGE = libc::SYS_close_range,
    IO_URING_ENTER = libc::SYS_io_uring_enter,
    IO_SUBMIT = libc::SYS_io_submit,
}
