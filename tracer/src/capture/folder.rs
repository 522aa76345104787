//! The folder of a capture: private, and never reached or left through a symbolic link.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self as sys, AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
    process::geteuid,
};

use super::INDEX;

mod error;
#[cfg(test)]
mod tests;

pub use self::error::FolderError;

/// For the owner only.
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;
/// For the owner only.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Bytes that [`Folder::read_range`] holds in memory at most.
pub const READ_LIMIT: u64 = 16 << 20;
/// The longest name of a file (`NAME_MAX`).
const NAME_LIMIT: usize = 255;

/// An open folder. Everything below it is reached through its descriptor, so nobody who renames or
/// replaces the path leads tracer elsewhere.
#[derive(Debug)]
pub struct Folder {
    directory: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Makes the directory, mode 0700, or takes an empty one that is there.
    ///
    /// # Errors
    /// [`FolderError`] when its parent does not exist, or when what is there is a symbolic link, no
    /// directory, not empty or somebody else's.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        let path = plain(path);
        match sys::mkdirat(CWD, &path, PRIVATE_DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Err(FolderError::NoParent { path }),
            Err(error) => return Err(FolderError::io("make", &path, error)),
        }
        let folder = Self::open_directory(path)?;
        let owner = sys::fstat(&folder.directory)
            .map_err(|error| FolderError::io("look at", &folder.path, error))?
            .st_uid;
        if owner != geteuid().as_raw() {
            return Err(FolderError::NotOurs { path: folder.path, owner });
        }
        if !folder.is_empty().map_err(|error| FolderError::io("list", &folder.path, error))? {
            return Err(FolderError::NotEmpty { path: folder.path });
        }
        sys::fchmod(&folder.directory, PRIVATE_DIRECTORY)
            .map_err(|error| FolderError::io("make private", &folder.path, error))?;
        Ok(folder)
    }

    /// Opens the folder of a capture for reading.
    ///
    /// # Errors
    /// [`FolderError`] when it is a symbolic link, no directory, or holds no index.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let folder = Self::open_directory(plain(path))?;
        match sys::statat(&folder.directory, INDEX, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(folder),
            Err(Errno::NOENT) => Err(FolderError::NotACapture { path: folder.path }),
            Err(error) => Err(FolderError::io("look into", &folder.path, error)),
        }
    }

    fn open_directory(path: PathBuf) -> Result<Self, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match sys::openat(CWD, &path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory, path }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(match sys::lstat(&path) {
                Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => {
                    FolderError::Symlink { path }
                }
                _ => FolderError::NotADirectory { path },
            }),
            Err(error) => Err(FolderError::io("open", &path, error)),
        }
    }

    fn is_empty(&self) -> io::Result<bool> {
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file of this name, mode 0600, for writing.
    ///
    /// # Errors
    /// [`FolderError`], also when there is something of that name.
    pub fn create_file(&self, name: &str) -> Result<File, FolderError> {
        self.check(name)?;
        self.make(name).map_err(|error| self.file_error("make", name, error))
    }

    /// Opens a file of this name for reading. The name may come from an index that somebody made up.
    ///
    /// # Errors
    /// [`FolderError`] when it is no plain name, or not that of a regular file.
    pub fn open_file(&self, name: &str) -> Result<File, FolderError> {
        self.check(name)?;
        // A FIFO must not make tracer wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match self.at(name, flags) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(self.not_a_file(name));
            }
            Err(error) => return Err(self.file_error("open", name, error)),
        };
        match file.metadata() {
            Ok(found) if found.is_file() => Ok(file),
            Ok(_) => Err(self.not_a_file(name)),
            Err(error) => Err(self.file_error("look at", name, error)),
        }
    }

    /// Reads a part of a file into memory.
    ///
    /// # Errors
    /// As [`Folder::open_file`]; [`FolderError::Short`] when the file does not hold all of it,
    /// [`FolderError::TooLong`] when it is more than [`READ_LIMIT`].
    pub fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, FolderError> {
        if length > READ_LIMIT {
            return Err(FolderError::TooLong { path: self.path.join(name), length });
        }
        let mut bytes = Vec::new();
        self.copy_range(name, offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a part of a file, of any length.
    ///
    /// # Errors
    /// As [`Folder::read_range`], and errors of `out`.
    pub fn copy_range(
        &self,
        name: &str,
        offset: u64,
        length: u64,
        out: &mut impl Write,
    ) -> Result<(), FolderError> {
        let mut file = self.open_file(name)?;
        let copy = |error| self.file_error("read", name, error);
        let size = file.metadata().map_err(copy)?.len();
        // Looked at before anything is copied: a made-up index may ask for any amount.
        let is_there = offset.checked_add(length).is_some_and(|end| end <= size);
        if is_there {
            file.seek(SeekFrom::Start(offset)).map_err(copy)?;
            if io::copy(&mut file.take(length), out).map_err(copy)? == length {
                return Ok(());
            }
        }
        Err(FolderError::Short { path: self.path.join(name), offset, length })
    }

    /// Makes a file that was not there.
    pub(super) fn make(&self, name: &str) -> io::Result<File> {
        self.at(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND)
    }

    /// Opens a file that tracer made, to go on writing.
    pub(super) fn append_to(&self, name: &str) -> io::Result<File> {
        self.at(name, OFlags::WRONLY | OFlags::APPEND)
    }

    /// Puts a file in the place of another one.
    pub(super) fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(sys::renameat(&self.directory, from, &self.directory, to)?)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(sys::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn at(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(sys::openat(self.directory.as_fd(), name, flags, PRIVATE_FILE)?.into())
    }

    fn check(&self, name: &str) -> Result<(), FolderError> {
        let is_plain = !name.is_empty()
            && name.len() <= NAME_LIMIT
            && !matches!(name, "." | "..")
            && !name.contains(['/', '\0']);
        if is_plain {
            return Ok(());
        }
        Err(FolderError::BadName { path: self.path.clone(), name: name.to_owned() })
    }

    fn not_a_file(&self, name: &str) -> FolderError {
        FolderError::NotAFile { path: self.path.join(name) }
    }

    fn file_error(&self, doing: &'static str, name: &str, source: io::Error) -> FolderError {
        FolderError::io(doing, &self.path.join(name), source)
    }
}

/// The path without a slash at its end, which would lead through a symbolic link.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
