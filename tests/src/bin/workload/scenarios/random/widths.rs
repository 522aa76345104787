//! Calls with random bits in the upper halves of their registers, which the kernel ignores: of numbers, fds, flags,
//! commands and numbers of segments.

use std::{
    ffi::{c_long, c_void},
    os::fd::RawFd,
};

use anyhow::{Result, ensure};
use fastrand::Rng;

use crate::{
    ledger::Ledger,
    paths::segments,
    sys::{self, Outcome},
};

/// A register whose lower half has this value.
pub(super) fn wide(value: impl Into<c_long>, random: &mut Rng) -> c_long {
    let lower = value.into() as u64 & u64::from(u32::MAX);
    (lower | random.u64(..) << 32) as c_long
}

/// Writes by `write` or `writev`.
pub(in crate::scenarios) fn write(
    ledger: &mut Ledger,
    fd: RawFd,
    size: usize,
    random: &mut Rng,
) -> Result<()> {
    let bytes = vec![b'w'; size];
    ledger.transfer(fd, size, |done, _| {
        let (rest, file) = (&bytes[done..], wide(fd, random));
        let (number, address, length) = if rest.len() > 3 && random.bool() {
            let parts = segments(rest);
            let count = wide(parts.len() as i32, random);
            return numbered(libc::SYS_writev, file, parts.as_ptr().cast(), count, random);
        } else {
            (libc::SYS_write, rest.as_ptr().cast(), rest.len() as c_long)
        };
        numbered(number, file, address, length, random)
    })
}

/// One call with a wide number. Linux 5.10 knows no such number: then with the plain one.
fn numbered(
    number: c_long,
    file: c_long,
    address: *const c_void,
    length: c_long,
    random: &mut Rng,
) -> Outcome {
    // SAFETY: the caller's buffer or segments are valid during the call.
    let call = |number| sys::outcome(unsafe { libc::syscall(number, file, address, length) });
    match call(wide(number, random)) {
        Err(libc::ENOSYS) => call(number),
        done => done,
    }
}

/// Puts a copy of an fd at a closed number.
pub(super) fn duplicate(from: RawFd, to: RawFd, random: &mut Rng) -> Result<()> {
    let [command, from] = [libc::F_DUPFD, from].map(|value| wide(value, random));
    // SAFETY: takes no pointer.
    let new = unsafe { libc::syscall(libc::SYS_fcntl, from, command, to) };
    let new = sys::check("F_DUPFD", new)?;
    ensure!(new as RawFd == to, "fd {to} became {new}");
    Ok(())
}
