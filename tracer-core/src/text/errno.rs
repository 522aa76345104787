//! Names and meanings of error numbers (`errno(3)`; values of asm-generic/errno-base.h and errno.h,
//! the same on x86-64 and arm64).

/// No such file or directory.
pub const ENOENT: u32 = 2;
/// Permission denied.
pub const EACCES: u32 = 13;
/// Not a directory.
pub const ENOTDIR: u32 = 20;
/// Address family not supported.
pub const EAFNOSUPPORT: u32 = 97;
/// Cannot assign requested address.
pub const EADDRNOTAVAIL: u32 = 99;
/// Network is unreachable.
pub const ENETUNREACH: u32 = 101;

/// No error of the kernel, which never ran the call: [`tracer_common::ledger::NOT_RUN`].
const NOT_RUN: u32 = tracer_common::ledger::NOT_RUN.unsigned_abs() as u32;

/// The symbol, like `ENOENT`; `errno 999` for a number that is not in the table.
#[must_use]
pub fn name(errno: u32) -> String {
    TABLE
        .iter()
        .find(|(number, _)| *number == errno)
        .map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_owned())
}

/// The description of the C library.
#[must_use]
pub fn meaning(errno: u32) -> String {
    if errno == NOT_RUN {
        return "seccomp trapped the call, or a supervisor answered it".to_owned();
    }
    let text = std::io::Error::from_raw_os_error(errno as i32).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[rustfmt::skip]
const TABLE: &[(u32, &str)] = &[
    (1, "EPERM"), (2, "ENOENT"), (4, "EINTR"), (5, "EIO"), (6, "ENXIO"), (7, "E2BIG"),
    (8, "ENOEXEC"), (9, "EBADF"), (11, "EAGAIN"), (12, "ENOMEM"), (13, "EACCES"), (14, "EFAULT"),
    (16, "EBUSY"), (17, "EEXIST"), (19, "ENODEV"), (20, "ENOTDIR"), (21, "EISDIR"),
    (22, "EINVAL"), (23, "ENFILE"), (24, "EMFILE"), (25, "ENOTTY"), (26, "ETXTBSY"),
    (27, "EFBIG"), (28, "ENOSPC"), (30, "EROFS"), (32, "EPIPE"), (36, "ENAMETOOLONG"),
    (40, "ELOOP"), (88, "ENOTSOCK"), (97, "EAFNOSUPPORT"), (99, "EADDRNOTAVAIL"),
    (101, "ENETUNREACH"), (104, "ECONNRESET"), (107, "ENOTCONN"), (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"), (113, "EHOSTUNREACH"), (NOT_RUN, "NOT_RUN"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_have_names_and_unknown_ones_keep_their_number() {
        assert_eq!(name(2), "ENOENT");
        assert_eq!(name(999), "errno 999");
        assert_eq!(meaning(ENOENT), "no such file or directory");
    }
}
