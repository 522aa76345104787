//! The write paths of the workload binary, and the kind of stdout that each needs.

use crate::stdio::Kind;

/// How a process obtained the fd through which it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It inherited fd 1 and fd 2.
    Direct,
    /// `dup` of fd 1 and fd 2.
    Dup,
    /// `dup2` of fd 1 to 7 and of fd 2 to 8.
    Dup2,
    /// Parent and forked child both write.
    Fork,
    /// Writes before and after an exec.
    Exec,
    /// A child that closed its fd 1 and fd 2 received both over a socket (`SCM_RIGHTS`).
    Scm,
}

impl Identity {
    /// All identities.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Dup, Self::Dup2, Self::Fork, Self::Exec, Self::Scm];

    /// Its name on the workload's command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Dup => "dup",
            Self::Dup2 => "dup2-7",
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Scm => "scm",
        }
    }

    /// Parses [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|identity| identity.word() == word)
    }
}

/// A write path: one kind of system call or request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritePath {
    /// Its name on the workload's command line.
    pub name: &'static str,
    /// The kind of stdout and stderr that it works on.
    pub kind: Kind,
}

const fn on(kind: Kind, name: &'static str) -> WritePath {
    WritePath { name, kind }
}

/// System calls of 64-bit programs.
pub const NATIVE: [WritePath; 13] = [
    on(Kind::Pipe, "write"),
    on(Kind::File, "pwrite64"),
    on(Kind::Pipe, "writev"),
    on(Kind::File, "pwritev"),
    on(Kind::File, "pwritev2"),
    on(Kind::Socket, "sendto"),
    on(Kind::Socket, "sendmsg"),
    on(Kind::Socket, "sendmmsg"),
    on(Kind::Pipe, "sendfile"),
    on(Kind::Pipe, "splice"),
    on(Kind::Pipe, "tee"),
    on(Kind::Pipe, "vmsplice"),
    on(Kind::File, "copy_file_range"),
];

/// Requests to an `io_uring`.
pub const URING: [WritePath; 9] = [
    on(Kind::Pipe, "uring-write"),
    on(Kind::Pipe, "uring-writev"),
    on(Kind::Pipe, "uring-write-fixed"),
    on(Kind::Pipe, "uring-registered-file"),
    on(Kind::Socket, "uring-send"),
    on(Kind::Socket, "uring-sendmsg"),
    on(Kind::Pipe, "uring-splice"),
    on(Kind::Pipe, "uring-sqpoll"),
    on(Kind::Pipe, "uring-async"),
];

/// System calls through the 32-bit entry point.
pub const COMPAT: [WritePath; 6] = [
    on(Kind::Pipe, "compat-write"),
    on(Kind::Pipe, "compat-writev"),
    on(Kind::File, "compat-pwrite64"),
    on(Kind::Socket, "compat-socketcall-send"),
    on(Kind::Socket, "compat-sendto"),
    on(Kind::Pipe, "compat-sendfile64"),
];

/// Finds a path by name.
pub fn find(name: &str) -> Option<WritePath> {
    NATIVE.iter().chain(&URING).chain(&COMPAT).find(|path| path.name == name).copied()
}
