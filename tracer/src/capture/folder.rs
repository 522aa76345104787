//! The folder of a capture. It is private, and tracer never follows a symbolic link into or out of it.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{self as sys, AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
    process::geteuid,
};
use tracer_core::capture::INDEX;

use super::budget::Disk;
use crate::sys::private_file::{Place, PlaceError};

mod error;
#[cfg(test)]
mod tests;

pub use self::error::FolderError;

/// Mode 0700.
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;
/// Mode 0600.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The most bytes that [`Folder::read_range`] reads.
pub const READ_LIMIT: u64 = 16 << 20;
/// The longest name of a file (`NAME_MAX`), in bytes.
const NAME_LIMIT: usize = 255;

/// An open folder. Its files are opened relative to its descriptor, so another user who renames or replaces the path
/// cannot redirect tracer.
#[derive(Debug)]
pub struct Folder {
    directory: OwnedFd,
    path: PathBuf,
    /// Its place, if [`Folder::create`] created it.
    made: Option<Arc<Place>>,
}

impl Folder {
    /// Creates the directory with mode 0700, or takes an empty one.
    ///
    /// # Errors
    /// [`FolderError`] if its parent does not exist, or if the path is a symbolic link, no directory, not empty, or
    /// another user's directory.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        let path = plain(path);
        let place = match Place::find(&path) {
            Ok(place) => place,
            Err(PlaceError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                return Err(FolderError::NoParent { path });
            }
            Err(error) => return Err(FolderError::io("make", &path, error)),
        };
        let is_new = match sys::mkdirat(&place.directory, &place.name, PRIVATE_DIRECTORY) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(FolderError::io("make", &path, error)),
        };
        let opened = Self::open_directory(&place.directory, &place.name, path)?;
        let folder = Self { made: is_new.then(|| Arc::new(place)), ..opened };
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
    /// [`FolderError`] if it is a symbolic link, no directory, or has no index.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let path = plain(path);
        let folder = Self::open_directory(CWD, path.clone().as_os_str(), path)?;
        match sys::statat(&folder.directory, INDEX, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(folder),
            Err(Errno::NOENT) => Err(FolderError::NotACapture { path: folder.path }),
            Err(error) => Err(FolderError::io("look into", &folder.path, error)),
        }
    }

    fn open_directory(parent: impl AsFd, name: &OsStr, path: PathBuf) -> Result<Self, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match sys::openat(&parent, name, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory, path, made: None }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(match look_at(&parent, name) {
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

    /// A second handle of the same folder, even if its path leads elsewhere now.
    ///
    /// # Errors
    /// [`FolderError::Io`] if no descriptors are left.
    pub fn again(&self) -> Result<Self, FolderError> {
        match self.directory.try_clone() {
            Ok(directory) => {
                Ok(Self { directory, path: self.path.clone(), made: self.made.clone() })
            }
            Err(error) => Err(FolderError::io("open", &self.path, error)),
        }
    }

    /// Removes these files, and the directory if tracer created it and it is then empty. For a capture that did not
    /// begin. Ignores errors.
    pub fn take_back(&self, files: &[&str]) {
        for name in files {
            let _ = self.remove(name);
        }
        if let Some(place) = &self.made {
            let _ = sys::unlinkat(&place.directory, &place.name, AtFlags::REMOVEDIR);
        }
    }

    /// Path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file with this name and mode 0600, for writing.
    ///
    /// # Errors
    /// [`FolderError`], also if the name exists.
    pub fn create_file(&self, name: &str) -> Result<File, FolderError> {
        self.check(name)?;
        self.make(name).map_err(|error| self.file_error("make", name, error))
    }

    /// Opens a file for reading. Its name may come from a forged index.
    ///
    /// # Errors
    /// [`FolderError`] if the name could lead elsewhere, or is not that of a regular file.
    pub fn open_file(&self, name: &str) -> Result<File, FolderError> {
        self.check(name)?;
        // Opening a FIFO must not wait for its writer.
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
    /// As [`Folder::open_file`]; [`FolderError::Short`] if the file is shorter, [`FolderError::TooLong`] if the part
    /// is longer than [`READ_LIMIT`].
    pub fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, FolderError> {
        if length > READ_LIMIT {
            return Err(FolderError::TooLong { path: self.path.join(name), length });
        }
        let mut bytes = Vec::new();
        self.copy_range(name, offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads from an offset: at most as many bytes, and fewer only at the end of the file.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn read_from(&self, name: &str, offset: u64, most: u64) -> Result<Vec<u8>, FolderError> {
        let mut file = self.open_file(name)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(most.min(READ_LIMIT)).read_to_end(&mut bytes))
            .map_err(|error| self.file_error("read", name, error))?;
        Ok(bytes)
    }

    /// Copies a part of a file. The part may have any length.
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
        // This is checked before anything is copied: a forged index may ask for any amount.
        let is_there = offset.checked_add(length).is_some_and(|end| end <= size);
        if is_there {
            file.seek(SeekFrom::Start(offset)).map_err(copy)?;
            if io::copy(&mut file.take(length), out).map_err(copy)? == length {
                return Ok(());
            }
        }
        Err(FolderError::Short { path: self.path.join(name), offset, length })
    }

    /// Size and free space of the folder's disk; `None` if its file system does not tell them.
    pub(super) fn disk(&self) -> Option<Disk> {
        sys::fstatvfs(&self.directory).ok().map(Disk::from)
    }

    /// Creates a file that does not exist.
    pub(super) fn make(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND;
        let file = self.at(name, flags)?;
        // The umask may have removed the owner's rights, and tracer opens the file again.
        sys::fchmod(&file, PRIVATE_FILE)?;
        Ok(file)
    }

    /// Opens a file that tracer created, to append to it.
    pub(super) fn append_to(&self, name: &str) -> io::Result<File> {
        self.at(name, OFlags::WRONLY | OFlags::APPEND)
    }

    /// Replaces a file by another one.
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

fn look_at(parent: &impl AsFd, name: &OsStr) -> rustix::io::Result<sys::Stat> {
    sys::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The path without a slash at its end. With the slash, a symbolic link would be followed.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
