//! What can be wrong with the folder of a capture.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It would be in a directory that is not there.
    #[error("the directory that {} would be in does not exist: make it first", path.display())]
    NoParent {
        /// The folder.
        path: PathBuf,
    },
    /// It is a symbolic link.
    #[error("{} is a symbolic link: name the directory itself", path.display())]
    Symlink {
        /// The folder.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no directory: name another place", path.display())]
    NotADirectory {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else could read what is put there.
    #[error("{} belongs to uid {owner}: name a directory of your own", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There is something in it.
    #[error("{} is not empty: name a new directory, which is then made", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is no index in it.
    #[error("{} holds no capture; `tracer --capture DIR` makes one", path.display())]
    NotACapture {
        /// The folder.
        path: PathBuf,
    },
    /// A name out of an index that could lead elsewhere.
    #[error("{name:?} is no name of a file in {}: its index is damaged, capture again", path.display())]
    BadName {
        /// The folder.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A link, a pipe, a directory.
    #[error("{} is no regular file: the capture was changed, capture again", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The file has fewer bytes than its index says.
    #[error(
        "{} does not hold {length} B at {offset}: it was cut or changed, capture again",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Where they would begin.
        offset: u64,
        /// How many were asked for.
        length: u64,
    },
    /// More than fits into memory at once.
    #[error("{length} B of {} are too many to show: copy them to a file instead", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How many were asked for.
        length: u64,
    },
    /// The system's words.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl FolderError {
    pub(super) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { doing, path: path.to_owned(), source: source.into() }
    }
}

impl From<FolderError> for io::Error {
    fn from(error: FolderError) -> Self {
        Self::other(error)
    }
}
