//! Where a table goes: standard output, or a file that has its name when it is whole.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

/// Only the owner may read an export: it has command lines.
const MODE: u32 = 0o600;

/// An open destination.
pub(crate) struct Output {
    file: File,
    /// The file while it is written, and its name afterwards.
    names: Option<Names>,
}

struct Names {
    partial: PathBuf,
    whole: PathBuf,
}

impl Output {
    /// Standard output.
    pub(crate) fn stdout() -> io::Result<Self> {
        let fd = rustix::io::dup(rustix::stdio::stdout())?;
        Ok(Self { file: File::from(fd), names: None })
    }

    /// A file. A regular one is replaced when the new one is whole; a pipe or device is written to.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let whole = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
            Ok(found) if found.is_file() => path.to_owned(),
            Ok(found) => {
                refuse_of_others(&found)?;
                let target = fs::metadata(path)?;
                if !target.is_file() {
                    return Self::special(path, &target);
                }
                path.canonicalize()?
            }
        };
        let mut partial = whole.clone().into_os_string();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial)?;
        Ok(Self { file, names: Some(Names { partial, whole }) })
    }

    fn special(path: &Path, target: &Metadata) -> io::Result<Self> {
        if target.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if target.file_type().is_socket() {
            return Err(io::Error::other("it is a socket"));
        }
        refuse_of_others(target)?;
        Ok(Self { file: OpenOptions::new().write(true).open(path)?, names: None })
    }

    /// What is written to.
    pub(crate) fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Whether a person would see the bytes.
    pub(crate) fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.file)
    }

    /// The file is whole: it is synced and gets its name.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        self.file.flush()?;
        let Some(Names { partial, whole }) = &self.names else { return Ok(()) };
        self.file.sync_all()?;
        fs::rename(partial, whole)?;
        self.names = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(Names { partial, .. }) = &self.names {
            // The error that prevented a whole file is told.
            let _ = fs::remove_file(partial);
        }
    }
}

/// A link, pipe or device that another user has put there could lead the rows to that user.
fn refuse_of_others(found: &Metadata) -> io::Result<()> {
    let owner = found.uid();
    if owner == 0 || owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::other(format!("it belongs to another user (uid {owner}): name another file")))
}
