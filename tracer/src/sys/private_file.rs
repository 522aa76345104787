//! Opens the user's files for writing: with mode 0600, and never through another user's link.
//!
//! In a directory that all users may write to, such as /tmp, another user can place a symbolic link, a file of their
//! own, or a second name of another file. Linux can refuse those (`fs.protected_symlinks`, `protected_regular`,
//! `protected_hardlinks`), but the settings may be off. So tracer walks the path itself, directory by directory and
//! by descriptor, and refuses them everywhere.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, ffi::OsStringExt as _, fs::PermissionsExt as _},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self as sys, AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat},
    io::Errno,
    process::geteuid,
};

/// How many links are followed before a path counts as a loop, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// Mode 0600.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Mode bit: all users may write.
const BY_ALL_USERS: u32 = Mode::WOTH.bits();

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The path is a symbolic link.
    #[error("it is a symbolic link: name the file itself")]
    Symlink,
    /// The path leads through another user's link, in a directory that all users may write to.
    #[error(
        "{} is a symbolic link of uid {owner} in a directory that anybody may write to: name the place itself",
        link.display()
    )]
    ForeignLink {
        /// The link.
        link: PathBuf,
        /// Uid of its owner.
        owner: u32,
    },
    /// The file belongs to another user, and is in such a directory.
    #[error(
        "it belongs to uid {owner}, in a directory that anybody may write to: remove it or name another"
    )]
    ForeignFile {
        /// Uid of its owner.
        owner: u32,
    },
    /// The file has a second name, which another user may have given it.
    #[error(
        "it has another name as well, in a directory that anybody may write to: remove it or name another"
    )]
    SecondName,
    /// An error of the system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for PlaceError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<PlaceError> for io::Error {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

/// The directory of a path's last name, and that name.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: OwnedFd,
    pub(crate) name: OsString,
}

impl Place {
    /// Walks a path up to its last name, which need not exist.
    ///
    /// # Errors
    /// [`PlaceError`] if the path leads through another user's link, or if a directory does not exist.
    pub(crate) fn find(path: &Path) -> Result<Self, PlaceError> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        // A path that ends in dots, or the root, is a directory and has no last name.
        let (directory, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => (path, OsStr::new(".")),
        };
        Ok(Self { directory: Walk::start(directory)?.finish()?, name: name.to_owned() })
    }

    /// Refuses a file or FIFO that another user may have placed: it is in a directory that all users may write to,
    /// and it belongs to another user or has a second name.
    fn check(&self, found: &Stat) -> Result<(), PlaceError> {
        let kind = FileType::from_raw_mode(found.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Fifo) {
            return Ok(());
        }
        let directory = sys::fstat(&self.directory)?;
        if !is_shared(&directory) {
            return Ok(());
        }
        if is_foreign(found, &directory) {
            return Err(PlaceError::ForeignFile { owner: found.st_uid });
        }
        if found.st_nlink > 1 {
            return Err(PlaceError::SecondName);
        }
        Ok(())
    }
}

/// Opens a file of the user for writing. Creates it with mode 0600, or sets that mode. Keeps its content.
///
/// # Errors
/// [`PlaceError`] if another user may have placed the file, or a link on its path.
pub(crate) fn open(path: &Path) -> Result<File, PlaceError> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Errno::ISDIR.into());
    }
    let place = Place::find(path)?;
    // NONBLOCK: opening a FIFO without a reader fails instead of waiting.
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file: File = match sys::openat(&place.directory, &place.name, flags, PRIVATE) {
        Ok(file) => file.into(),
        Err(error) => return Err(explain(&place, error)),
    };
    let found = sys::fstat(&file)?;
    place.check(&found)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        file.set_permissions(Permissions::from_mode(PRIVATE.bits()))?;
    }
    Ok(file)
}

/// The error for a link in a directory such as /tmp: the kernel itself only says EACCES.
fn explain(place: &Place, error: Errno) -> PlaceError {
    let Ok(found) = sys::statat(&place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW) else {
        return error.into();
    };
    if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
        return PlaceError::Symlink;
    }
    place.check(&found).err().unwrap_or_else(|| error.into())
}

/// Whether all users may create files in a directory.
fn is_shared(directory: &Stat) -> bool {
    directory.st_mode & BY_ALL_USERS != 0
}

/// Whether a file belongs neither to this user nor to the owner of its directory.
fn is_foreign(found: &Stat, directory: &Stat) -> bool {
    ![geteuid().as_raw(), directory.st_uid].contains(&found.st_uid)
}

/// A path that is walked directory by directory.
struct Walk {
    at: OwnedFd,
    /// Path of that directory, for messages.
    path: PathBuf,
    rest: VecDeque<OsString>,
    links: u32,
}

impl Walk {
    fn start(path: &Path) -> Result<Self, PlaceError> {
        let from = if path.is_absolute() { "/" } else { "." };
        let mut walk =
            Self { at: directory(from)?, path: from.into(), rest: VecDeque::new(), links: 0 };
        walk.put_in_front(path);
        Ok(walk)
    }

    fn put_in_front(&mut self, path: &Path) {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        for name in names.collect::<Vec<_>>().into_iter().rev() {
            self.rest.push_front(name.to_owned());
        }
    }

    fn finish(mut self) -> Result<OwnedFd, PlaceError> {
        while let Some(name) = self.rest.pop_front() {
            self.step(&name)?;
        }
        Ok(self.at)
    }

    fn step(&mut self, name: &OsStr) -> Result<(), PlaceError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = sys::openat(&self.at, name, flags, Mode::empty())?;
        let seen = sys::fstat(&found)?;
        match FileType::from_raw_mode(seen.st_mode) {
            FileType::Directory => {
                self.at = found;
                self.path.push(name);
                Ok(())
            }
            FileType::Symlink => self.follow(name, &found, &seen),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn follow(&mut self, name: &OsStr, link: &OwnedFd, seen: &Stat) -> Result<(), PlaceError> {
        let around = sys::fstat(&self.at)?;
        if is_shared(&around) && is_foreign(seen, &around) {
            let link = self.path.join(name);
            return Err(PlaceError::ForeignLink { link, owner: seen.st_uid });
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        // The text of the kernel's own links, such as /proc/self/cwd, is not where they lead.
        if sys::fstatfs(&self.at)?.f_type == PROC_SUPER_MAGIC {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.at = sys::openat(&self.at, name, flags, Mode::empty())?;
            self.path.push(name);
            return Ok(());
        }
        let target = sys::readlinkat(link, "", Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.at = directory("/")?;
            self.path = "/".into();
        }
        self.put_in_front(&target);
        Ok(())
    }
}

fn directory(path: &str) -> Result<OwnedFd, PlaceError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(sys::openat(CWD, path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests;
