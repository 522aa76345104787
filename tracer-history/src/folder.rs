//! The folder of a history and its files.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::geteuid,
};

use crate::{HistoryError, names::FileName};

/// Mode of the folder.
const PRIVATE_FOLDER: u32 = 0o700;
/// Mode of each file. SQLite gives the mode of a file to its `-wal` and `-shm`.
const PRIVATE_FILE: u32 = 0o600;
/// Bits of a mode that let other users in.
const OTHERS: u32 = 0o077;
/// Bits of a mode that let other users create files.
const OTHERS_WRITE: u32 = 0o022;
/// What SQLite puts beside a file.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// The name of a file that is not finished.
pub(crate) const UNFINISHED: &str = ".new.db";

/// A folder that this process writes to. No other process can have it for writing at the same time.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Holds the lock.
    directory: File,
}

/// Device and inode.
pub(crate) type Identity = (u64, u64);

impl Folder {
    /// Makes the folder, or takes an existing one, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        let failed = |error| match HistoryError::folder(path, error) {
            HistoryError::NoFolder { path } => {
                HistoryError::Folder { path, source: ErrorKind::NotFound.into() }
            }
            error => error,
        };
        DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let directory = lock(&path)?;
        let folder = Self { path, directory };
        folder.make_private()?;
        Ok(folder)
    }

    /// Sets the mode, unless the folder has other things than a history: it may be a folder like `/var/lib`.
    fn make_private(&self) -> Result<(), HistoryError> {
        let failed = |error| HistoryError::folder(&self.path, error);
        let found = self.directory.metadata().map_err(failed)?;
        if found.uid() != geteuid().as_raw() || found.mode() & OTHERS_WRITE != 0 {
            return Err(HistoryError::Shared { path: self.path.clone() });
        }
        if found.mode() & OTHERS != 0 && self.is_ours().map_err(failed)? {
            self.directory
                .set_permissions(Permissions::from_mode(PRIVATE_FOLDER))
                .map_err(failed)?;
        }
        Ok(())
    }

    fn is_ours(&self) -> io::Result<bool> {
        for found in fs::read_dir(&self.path)? {
            let name = found?.file_name();
            let name = name.to_string_lossy();
            let main = BESIDE.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            if FileName::parse(main).is_none() && main != UNFINISHED {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the folder again if it was removed or replaced. Returns whether it was.
    pub(crate) fn renew(&mut self) -> Result<bool, HistoryError> {
        let ours = self.directory.metadata().map(|found| (found.dev(), found.ino())).ok();
        if ours.is_some() && identity(&self.path) == ours {
            return Ok(false);
        }
        *self = Self::open(&self.path)?;
        Ok(true)
    }

    /// The path of a name in the folder.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// All files of the history, the oldest first.
    pub(crate) fn files(&self) -> io::Result<Vec<FileName>> {
        files(&self.path)
    }

    /// Creates an empty file, and removes what had its name.
    pub(crate) fn create(&self, name: &str) -> io::Result<()> {
        self.remove_text(name)?;
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(self.path_of(name))?;
        // The umask may have taken bits away.
        file.set_permissions(Permissions::from_mode(PRIVATE_FILE))
    }

    /// Gives a finished file its name. What is beside that name belongs to a file that was removed: SQLite would take
    /// such a WAL for that of the new file.
    pub(crate) fn finish(&self, name: FileName) -> io::Result<()> {
        let name = name.text();
        for end in BESIDE {
            ignore_missing(fs::remove_file(self.path_of(&format!("{UNFINISHED}{end}"))))?;
            ignore_missing(fs::remove_file(self.path_of(&format!("{name}{end}"))))?;
        }
        fs::rename(self.path_of(UNFINISHED), self.path_of(&name))
    }

    /// Refuses a name that is no file of this user, and makes the file private.
    pub(crate) fn check(&self, name: FileName) -> io::Result<()> {
        let path = self.path_of(&name.text());
        let found = fs::symlink_metadata(&path)?;
        if !found.is_file() || found.uid() != geteuid().as_raw() {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if found.mode() & 0o777 == PRIVATE_FILE {
            return Ok(());
        }
        fs::set_permissions(&path, Permissions::from_mode(PRIVATE_FILE))
    }

    /// Renames a file that cannot be used, with its `-wal`.
    pub(crate) fn set_aside(&self, name: FileName) -> io::Result<()> {
        let (from, to) = (name.text(), FileName { is_broken: true, ..name }.text());
        fs::rename(self.path_of(&from), self.path_of(&to))?;
        let wal = |name: &str| self.path_of(&format!("{name}-wal"));
        ignore_missing(fs::rename(wal(&from), wal(&to)))?;
        ignore_missing(fs::remove_file(self.path_of(&format!("{from}-shm"))))
    }

    /// Size of a file with what SQLite has beside it, in bytes.
    pub(crate) fn size(&self, name: FileName) -> u64 {
        let name = name.text();
        let size = |end: &str| {
            let found = fs::symlink_metadata(self.path_of(&format!("{name}{end}")));
            found.map_or(0, |found| found.len())
        };
        size("") + size("-wal") + size("-shm")
    }

    /// Removes a file with what SQLite has beside it.
    pub(crate) fn remove(&self, name: FileName) -> io::Result<()> {
        self.remove_text(&name.text())
    }

    fn remove_text(&self, name: &str) -> io::Result<()> {
        for end in ["", "-wal", "-shm"] {
            ignore_missing(fs::remove_file(self.path_of(&format!("{name}{end}"))))?;
        }
        Ok(())
    }
}

/// The files of a history in a folder, the oldest first.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<FileName>> {
    let mut files = Vec::new();
    for found in fs::read_dir(folder)? {
        files.extend(found?.file_name().to_str().and_then(FileName::parse));
    }
    files.sort_unstable();
    Ok(files)
}

/// Device and inode of what a path leads to; `None` if it cannot be seen.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn lock(path: &Path) -> Result<File, HistoryError> {
    let failed = |error: io::Error| HistoryError::folder(path, error);
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    let directory = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(Errno::WOULDBLOCK) => Err(HistoryError::Busy { path: path.to_owned() }),
        Err(error) => Err(failed(error.into())),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_folder_and_its_files_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        folder.create(UNFINISHED).unwrap();
        assert_eq!((mode(&path), mode(&path.join(UNFINISHED))), (0o700, 0o600));
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        folder.make_private().unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_folder_with_other_things_keeps_its_mode_and_a_shared_one_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(parent.path().join("other"), "").unwrap();
        drop(Folder::open(parent.path()).unwrap());
        assert_eq!(mode(parent.path()), 0o755);
        fs::set_permissions(parent.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Folder::open(parent.path()), Err(HistoryError::Shared { .. })));
    }

    #[test]
    fn only_one_process_has_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let first = Folder::open(parent.path()).unwrap();
        assert!(matches!(Folder::open(parent.path()), Err(HistoryError::Busy { .. })));
        drop(first);
        Folder::open(parent.path()).unwrap();
    }

    #[test]
    fn a_removed_folder_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("history");
        let mut folder = Folder::open(&path).unwrap();
        assert!(!folder.renew().unwrap());
        fs::remove_dir(&path).unwrap();
        assert!(folder.renew().unwrap());
        assert_eq!(mode(&path), 0o700);
    }
}
