//! Maps and links in bpffs, where they live on when this process has ended, and the next one adopts them.
//!
//! The folder of a recorder holds one folder for each version of its programs, with a pin of each map (`map_NAME`) and of
//! each link (`link_PROGRAM`). A folder named `complete` says that every hook is attached. The iterators are not pinned:
//! they run only when user space asks, and are loaded anew with the same maps.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{Ebpf, programs::links::FdLink};
use rustix::fs::statfs;

use crate::{LoaderError, error::reason};

/// Type of bpffs in `statfs(2)`: `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// The folder that says that the pins of a version are complete.
const COMPLETE: &str = "complete";
/// What the names of pinned maps and links begin with.
const MAP: &str = "map_";
const LINK: &str = "link_";

/// The pins of one version of the programs.
#[derive(Debug)]
pub(crate) struct Pins {
    folder: PathBuf,
    /// Whether they were there, and are complete.
    pub(crate) are_adopted: bool,
}

impl Pins {
    /// Makes the folder of a version, or finds it. Those of other versions, and incomplete ones, are detached: their
    /// programs cannot be asked by this one.
    ///
    /// # Errors
    /// [`LoaderError::Pins`].
    pub(crate) fn open(base: &Path, version: &str) -> Result<Self, LoaderError> {
        let refused = |error: io::Error| refused(base, &error);
        make(base).map_err(refused)?;
        let folder = base.join(version);
        for entry in fs::read_dir(base).map_err(refused)? {
            let found = entry.map_err(refused)?.path();
            if found != folder || !found.join(COMPLETE).is_dir() {
                remove(&found).map_err(refused)?;
            }
        }
        let are_adopted = match fs::create_dir(&folder) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Err(error) => return Err(refused(error)),
        };
        Ok(Self { folder, are_adopted })
    }

    /// The maps that are pinned: name and path.
    ///
    /// # Errors
    /// [`LoaderError::Pins`].
    pub(crate) fn maps(&self) -> Result<Vec<(String, PathBuf)>, LoaderError> {
        let entries = fs::read_dir(&self.folder).map_err(|error| refused(&self.folder, &error))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let named = paths.filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix(MAP)?.to_owned();
            Some((name, path))
        });
        Ok(named.collect())
    }

    /// Pins all maps of an object, but not its constants (`.rodata`): each process loads the same.
    ///
    /// # Errors
    /// [`LoaderError::Pins`].
    pub(crate) fn pin_maps(&self, bpf: &Ebpf) -> Result<(), LoaderError> {
        for (name, map) in bpf.maps().filter(|(name, _)| !name.starts_with('.')) {
            let pinned = map.pin(self.folder.join(format!("{MAP}{name}")));
            pinned.map_err(|error| self.refused(reason(&error)))?;
        }
        Ok(())
    }

    /// Pins the link of a program.
    ///
    /// # Errors
    /// [`LoaderError::Pins`].
    pub(crate) fn pin_link(&self, program: &str, link: FdLink) -> Result<(), LoaderError> {
        let pinned = link.pin(self.link(program));
        pinned.map(drop).map_err(|error| self.refused(reason(&error)))
    }

    /// Whether the link of a program is pinned.
    pub(crate) fn has_link(&self, program: &str) -> bool {
        self.link(program).exists()
    }

    /// Every hook is attached.
    ///
    /// # Errors
    /// [`LoaderError::Pins`].
    pub(crate) fn complete(&self) -> Result<(), LoaderError> {
        let path = self.folder.join(COMPLETE);
        fs::create_dir(&path).map_err(|error| refused(&path, &error))
    }

    /// Detaches what is pinned, and keeps the maps.
    pub(crate) fn remove_links(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(LINK) {
                // One that stays is removed by the next process: the folder is not complete.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn link(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{LINK}{program}"))
    }

    fn refused(&self, reason: String) -> LoaderError {
        LoaderError::Pins { path: self.folder.clone(), reason }
    }
}

/// Detaches and removes what a recorder has left attached in its folder. Returns whether there was something.
///
/// # Errors
/// [`LoaderError::Pins`].
pub fn unpin(base: &Path) -> Result<bool, LoaderError> {
    if !base.exists() {
        return Ok(false);
    }
    remove(base).map_err(|error| refused(base, &error))?;
    Ok(true)
}

/// Makes a folder in bpffs, which only root can enter.
fn make(base: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let parent = base.parent().unwrap_or(Path::new("/"));
    let mount = parent.ancestors().find(|folder| folder.exists()).unwrap_or(parent);
    if statfs(mount)?.f_type as u32 != BPF_FS_MAGIC {
        return Err(io::Error::other("bpffs is not mounted there"));
    }
    fs::DirBuilder::new().mode(0o700).recursive(true).create(base)
}

/// Removes a folder of pins and what is in it.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

fn refused(path: &Path, error: &io::Error) -> LoaderError {
    LoaderError::Pins { path: path.to_owned(), reason: error.to_string() }
}
