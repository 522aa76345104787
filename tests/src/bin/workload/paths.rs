//! Write paths. A path writes several sizes to an fd and counts what the kernel returned. It works
//! with an fd of any identity.

mod compat32;
mod copy;
mod plain;
pub(crate) mod socket;
mod source;
pub(crate) mod uring;

use std::os::fd::RawFd;

use anyhow::Result;

pub(crate) use self::plain::{segment, segments};

use crate::ledger::Ledger;

/// Writes data of each size to an fd.
pub(crate) type PathFn = fn(&mut Ledger, RawFd, &[usize]) -> Result<()>;

/// Finds a path by name.
pub(crate) fn find(name: &str) -> Option<PathFn> {
    Some(match name {
        "write" => plain::write,
        "pwrite64" => plain::pwrite64,
        "writev" => plain::writev,
        "pwritev" => plain::pwritev,
        "pwritev2" => plain::pwritev2,
        "sendto" => socket::sendto,
        "sendmsg" => socket::sendmsg,
        "sendmmsg" => socket::sendmmsg,
        "sendfile" => copy::sendfile,
        "splice" => copy::splice,
        "tee" => copy::tee,
        "vmsplice" => copy::vmsplice,
        "copy_file_range" => copy::copy_file_range,
        "uring-write" => uring::write,
        "uring-writev" => uring::writev,
        "uring-write-fixed" => uring::write_fixed,
        "uring-registered-file" => uring::registered_file,
        "uring-send" => uring::send,
        "uring-sendmsg" => uring::sendmsg,
        "uring-splice" => uring::splice,
        "uring-sqpoll" => uring::sqpoll,
        "uring-async" => uring::forced_async,
        "compat-write" => compat32::write,
        "compat-writev" => compat32::writev,
        "compat-pwrite64" => compat32::pwrite64,
        "compat-socketcall-send" => compat32::socketcall_send,
        "compat-sendto" => compat32::sendto,
        "compat-sendfile64" => compat32::sendfile64,
        _ => return None,
    })
}
