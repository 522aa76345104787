//! Facts about processes: calls that moved no bytes, and explain a verdict.

use tracer_common::{event::cut, object::ObjectId};

/// A fact about a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// What kind.
    pub kind: FactKind,
    /// The fd concerned, if there is one.
    pub fd: Option<i32>,
    /// Positive errno, 0 for success.
    pub errno: u32,
    /// What it was about: an address, a path, an object's name.
    pub about: String,
    /// The object concerned, if there is one.
    pub object: Option<ObjectId>,
    /// Of [`FactKind::FileCut`]: what it took from the file.
    pub cut: CutKind,
}

/// What a cut took from a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutKind {
    /// What was behind some length.
    #[default]
    Shortened,
    /// All.
    Emptied,
    /// Something inside of it (`fallocate(2)`): its size does not tell how much.
    Inside,
    /// The file is cut again and again, and later cuts are not told one by one.
    Often,
}

impl CutKind {
    /// Of [`Fact::detail`](tracer_common::event::Fact::detail).
    pub(super) fn of(detail: u32) -> Self {
        match detail {
            cut::EMPTIED => Self::Emptied,
            cut::INSIDE => Self::Inside,
            cut::OFTEN => Self::Often,
            _ => Self::Shortened,
        }
    }
}

/// Kinds of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// The program asked whether the fd is a terminal.
    TtyAsked,
    /// A `connect` failed.
    ConnectFailed,
    /// An `execve` failed.
    ExecFailed,
    /// fd 0, 1 or 2 was replaced (`dup2`).
    FdReplaced,
    /// fd 0, 1 or 2 was closed.
    FdClosed,
    /// `O_NONBLOCK` was set.
    Nonblock,
    /// There was more to tell than tracer keeps: further facts of the image are missing, or of earlier images.
    Cut,
    /// Its tracer emulates its calls: they are those of a guest.
    Emulated,
    /// An fd was replaced while another thread may have been using it. Without an fd: several from 3 on.
    FdRaced,
    /// It cut a file: `ftruncate(2)`, or `O_TRUNC`.
    FileCut,
    /// It asked what kind of file its stdout is (`fstat(2)`), as a C library does at the first print.
    StdoutStat,
}

impl FactKind {
    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TtyAsked => "tty_asked",
            Self::ConnectFailed => "connect_failed",
            Self::ExecFailed => "exec_failed",
            Self::FdReplaced => "fd_replaced",
            Self::FdClosed => "fd_closed",
            Self::Nonblock => "nonblock",
            Self::Cut => "facts_cut",
            Self::Emulated => "emulated",
            Self::FdRaced => "fd_raced",
            Self::FileCut => "file_cut",
            Self::StdoutStat => "stdout_stat",
        }
    }
}
