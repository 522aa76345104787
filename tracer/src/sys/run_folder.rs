//! Folders of this process below `/run/tracer`, which only root can enter.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::processes::exists;

/// Where tracer's folders are.
pub(crate) const RUN: &str = "/run/tracer";

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder of this process for a purpose. Removes those of processes that have ended.
    ///
    /// # Errors
    /// An error if it cannot be made, or if [`RUN`] is not root's alone.
    pub fn make(purpose: &str) -> io::Result<Self> {
        let private = make_run()?;
        for entry in fs::read_dir(RUN)?.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(purpose)?.strip_prefix('-'));
            let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
            if pid.is_some_and(|pid| !exists(pid)) {
                // Another tracer may be faster.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = Path::new(RUN).join(format!("{purpose}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        private.create(&path)?;
        Ok(Self { path })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes [`RUN`]. Returns what makes folders like it.
fn make_run() -> io::Result<DirBuilder> {
    let mut private = DirBuilder::new();
    private.mode(0o700);
    match private.create(RUN) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !is_private(Path::new(RUN), 0)? {
        let text = format!("{RUN} is not a folder of root's alone");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(private)
}

/// Whether a folder is this user's alone. An empty one that is this user's, which others may enter, is made so: the kubelet
/// makes folders for pods with mode 0777.
fn is_private(folder: &Path, uid: u32) -> io::Result<bool> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let found = rustix::fs::fstat(&opened)?;
    if found.st_uid != uid {
        return Ok(false);
    }
    if found.st_mode & 0o077 == 0 {
        return Ok(true);
    }
    // From now on no other user can put anything there. What is there already may be another user's.
    rustix::fs::fchmod(&opened, Mode::RWXU)?;
    let is_empty = fs::read_dir(folder)?.next().is_none();
    if !is_empty {
        rustix::fs::fchmod(&opened, Mode::from_raw_mode(found.st_mode))?;
    }
    Ok(is_empty)
}

/// A name for the recorder that writes to this folder. The folder's inode says which one, so that a link to it has the
/// same name.
///
/// # Errors
/// An error if the folder is not there.
pub fn recorder_of(history: &Path) -> io::Result<String> {
    let found = fs::metadata(history)?;
    Ok(format!("{:x}-{}", found.dev(), found.ino()))
}

/// The socket of the recorder that writes to this folder.
///
/// # Errors
/// An error if the folder is not there.
pub fn socket_of(history: &Path) -> io::Result<PathBuf> {
    Ok(Path::new(RUN).join(format!("daemon-{}.socket", recorder_of(history)?)))
}

/// Where the recorder that writes to this folder keeps what it knows, for the next one.
///
/// # Errors
/// An error if the folder is not there, or if [`RUN`] is not root's alone.
pub fn log_of(history: &Path) -> io::Result<PathBuf> {
    make_run()?;
    Ok(socket_of(history)?.with_extension("log"))
}

/// A socket in [`RUN`], which is removed when this is dropped.
#[derive(Debug)]
pub struct RunSocket {
    path: PathBuf,
}

impl RunSocket {
    /// Listens at the socket of a history. The caller holds the history's lock, so a socket that is there is of a recorder
    /// that was killed.
    ///
    /// # Errors
    /// An error if [`RUN`] is not root's alone, or if there can be no socket.
    pub fn listen(history: &Path) -> io::Result<(Self, UnixListener)> {
        make_run()?;
        let path = socket_of(history)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // No other user can enter the folder, so none can be faster than the mode.
        let listener = UnixListener::bind(&path)?;
        let socket = Self { path };
        fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((socket, listener))
    }
}

impl Drop for RunSocket {
    fn drop(&mut self) {
        // The next recorder removes what is left.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // The next tracer removes what is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_empty_folder_is_made_private_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let uid = folder.path().metadata().unwrap().uid();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        let make = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (empty, used, private) =
            (make("empty", 0o777), make("used", 0o755), make("private", 0o700));
        fs::write(used.join("socket"), "").unwrap();
        fs::write(private.join("socket"), "").unwrap();
        assert!(is_private(&empty, uid).unwrap() && mode(&empty) == 0o700);
        assert!(!is_private(&used, uid).unwrap() && mode(&used) == 0o755);
        assert!(is_private(&private, uid).unwrap());
        assert!(!is_private(&private, uid + 1).unwrap());
        let (link, file) = (folder.path().join("link"), private.join("socket"));
        symlink(&private, &link).unwrap();
        for path in [&link, &file] {
            assert!(!is_private(path, uid).unwrap(), "{}", path.display());
        }
        assert!(is_private(&folder.path().join("none"), uid).is_err());
    }
}
