//! Every way to write that the workload binary knows, and the kind of stdout each one needs.

use crate::stdio::Kind;

/// How a process came to the fd it writes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// fd 1 and fd 2 themselves.
    Direct,
    /// A `dup` of each.
    Dup,
    /// `dup2` of fd 1 to 7 and of fd 2 to 8.
    Dup2,
    /// A forked child writes as well.
    Fork,
    /// Some before and some after an exec.
    Exec,
    /// A child that closed its own got both over a socket (`SCM_RIGHTS`).
    Scm,
}

impl Identity {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Dup, Self::Dup2, Self::Fork, Self::Exec, Self::Scm];

    /// The workload binary's word for it.
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

    /// The identity with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|identity| identity.word() == word)
    }
}

/// One way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritePath {
    /// The workload binary's word for it.
    pub name: &'static str,
    /// The kind of stdout and stderr it works on.
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

/// System calls through the 32-bit entry.
pub const COMPAT: [WritePath; 6] = [
    on(Kind::Pipe, "compat-write"),
    on(Kind::Pipe, "compat-writev"),
    on(Kind::File, "compat-pwrite64"),
    on(Kind::Socket, "compat-socketcall-send"),
    on(Kind::Socket, "compat-sendto"),
    on(Kind::Pipe, "compat-sendfile64"),
];

/// The path of this name.
pub fn find(name: &str) -> Option<WritePath> {
    NATIVE.iter().chain(&URING).chain(&COMPAT).find(|path| path.name == name).copied()
}
