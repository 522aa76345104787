//! Errors about the folder of a capture.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Its parent directory does not exist.
    #[error("the parent directory of {} does not exist: create it first", path.display())]
    NoParent {
        /// The folder.
        path: PathBuf,
    },
    /// The path is a symbolic link.
    #[error("{} is a symbolic link: name the directory itself", path.display())]
    Symlink {
        /// The folder.
        path: PathBuf,
    },
    /// The path is no directory.
    #[error("{} is not a directory: choose another name", path.display())]
    NotADirectory {
        /// The folder.
        path: PathBuf,
    },
    /// The directory belongs to another user, who could read the output.
    #[error("{} belongs to uid {owner}: choose a directory of your own", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Uid of its owner.
        owner: u32,
    },
    /// The directory is not empty.
    #[error("{} is not empty: choose a new directory", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The directory has no index.
    #[error("{} is not a capture: `tracer --capture DIR` makes one", path.display())]
    NotACapture {
        /// The folder.
        path: PathBuf,
    },
    /// The index has a file name that could lead elsewhere.
    #[error("{name:?} is no name of a file in {}: its index is damaged, capture again", path.display())]
    BadName {
        /// The folder.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A file of the index is a link, a pipe or a directory.
    #[error("{} is no regular file: the capture was changed, capture again", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is shorter than its index says.
    #[error(
        "{} does not hold {length} B at {offset}: it was cut or changed, capture again",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Offset of the missing bytes.
        offset: u64,
        /// Number of bytes that were asked for.
        length: u64,
    },
    /// The part is too long for memory.
    #[error("{length} B of {} are too many to show: copy them to a file instead", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Number of bytes that were asked for.
        length: u64,
    },
    /// What the process that has the folder says.
    #[error("{0}")]
    Told(String),
    /// An error of the system.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What tracer tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl FolderError {
    pub(in crate::capture) fn io(
        doing: &'static str,
        path: &Path,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { doing, path: path.to_owned(), source: source.into() }
    }
}

impl From<FolderError> for io::Error {
    fn from(error: FolderError) -> Self {
        Self::other(error)
    }
}
