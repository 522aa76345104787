//! Why there is no history.

use std::{io, path::PathBuf};

/// Why a history cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such folder.
    #[error("there is no history in {}: start `tracer daemon`, or name its folder with --history", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Its permissions do not allow it.
    #[error("the history in {} is private: run tracer as root", path.display())]
    Forbidden {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes a history there.
    #[error("another tracer writes the history in {}: stop it, or name another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Others can put files into the folder.
    #[error("the folder {} belongs to another user or all users may write to it: name a private folder", path.display())]
    Shared {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use the folder {} for the history: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start a thread for the history: {0}")]
    Thread(io::Error),
}

impl HistoryError {
    /// The error of a folder.
    pub(crate) fn folder(path: &std::path::Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoFolder { path },
            io::ErrorKind::PermissionDenied => Self::Forbidden { path },
            _ => Self::Folder { path, source },
        }
    }
}
