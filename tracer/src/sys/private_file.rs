//! Where the user's files are put: mode 0600, and never where somebody else leads.
//!
//! In a directory that anybody may write to, such as /tmp, another user can put a symbolic link, a file
//! of their own or a further name of someone's file in the way. Linux can refuse those
//! (`fs.protected_symlinks`, `protected_regular`, `protected_hardlinks`), but need not be told to; so tracer
//! walks the path itself, step by step and by descriptor, and refuses them everywhere.

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

/// Links that are followed before a path counts as a loop, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// For the owner only.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Everybody may write to a directory.
const BY_ANYBODY: u32 = Mode::WOTH.bits();

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file itself is a link.
    #[error("it is a symbolic link: name the file itself")]
    Symlink,
    /// A link on the way, in a directory that anybody may write to.
    #[error(
        "{} is a symbolic link of uid {owner} in a directory that anybody may write to: name the place itself",
        link.display()
    )]
    ForeignLink {
        /// The link.
        link: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Somebody else's file, in such a directory.
    #[error(
        "it belongs to uid {owner}, in a directory that anybody may write to: remove it or name another"
    )]
    ForeignFile {
        /// Whose it is.
        owner: u32,
    },
    /// A file with a second name, which somebody else may have given it.
    #[error(
        "it has another name as well, in a directory that anybody may write to: remove it or name another"
    )]
    SecondName,
    /// The system's words.
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

/// The directory that a path's last name is in, and that name.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: OwnedFd,
    pub(crate) name: OsString,
}

impl Place {
    /// Walks a path up to its last name, which need not exist.
    ///
    /// # Errors
    /// [`PlaceError`] when it leads through somebody else's link, or nowhere.
    pub(crate) fn find(path: &Path) -> Result<Self, PlaceError> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        // What ends in dots, or is the root, is there and has no name of its own.
        let (directory, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => (path, OsStr::new(".")),
        };
        Ok(Self { directory: Walk::start(directory)?.finish()?, name: name.to_owned() })
    }

    /// Refuses what somebody else may have put there: a file or FIFO, in a directory that anybody may write
    /// to, which is another one's or has another name.
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

/// Opens a file of the user for writing, made with mode 0600 or brought to it; its content is kept.
///
/// # Errors
/// [`PlaceError`] when it is, or is reached through, what somebody else may have put there.
pub(crate) fn open(path: &Path) -> Result<File, PlaceError> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Errno::ISDIR.into());
    }
    let place = Place::find(path)?;
    // NONBLOCK: a FIFO without a reader refuses at once instead of hanging.
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

/// A link in a directory like /tmp is not even a link to the kernel there: it says EACCES.
fn explain(place: &Place, error: Errno) -> PlaceError {
    let Ok(found) = sys::statat(&place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW) else {
        return error.into();
    };
    if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
        return PlaceError::Symlink;
    }
    place.check(&found).err().unwrap_or_else(|| error.into())
}

/// Whether anybody may put something into a directory.
fn is_shared(directory: &Stat) -> bool {
    directory.st_mode & BY_ANYBODY != 0
}

/// Whether what is in a directory belongs neither to this user nor to the directory's.
fn is_foreign(found: &Stat, directory: &Stat) -> bool {
    ![geteuid().as_raw(), directory.st_uid].contains(&found.st_uid)
}

/// A path that is walked directory by directory.
struct Walk {
    at: OwnedFd,
    /// Where that is, for messages.
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
        // The kernel's own links, such as /proc/self/cwd, lead where their text does not.
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
