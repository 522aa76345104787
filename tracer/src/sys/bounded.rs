//! Reads of files whose size another program chooses, each with a limit.
//!
//! The arguments and the environment of a process have any size that the process sets (`PR_SET_MM_MAP`), and the state
//! files of an engine hold what its users asked for. `clippy.toml` forbids reads without a limit.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use procfs::{FromRead, ProcResult, process::Process};

/// Limit for files that the kernel or a service writes for programs: lists of mounts, cgroups and users, an engine's
/// state. The largest of them is a list of 100,000 mounts (`fs.mount-max`).
const LIST: u64 = 16 << 20;

/// The beginning of a file.
pub(crate) struct Beginning {
    /// At most as many bytes as were asked for.
    pub(crate) bytes: Vec<u8>,
    /// Whether the file has more.
    pub(crate) is_cut: bool,
}

/// Reads the first `most` bytes of a file.
pub(crate) fn beginning(path: impl AsRef<Path>, most: usize) -> io::Result<Beginning> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() > most;
    bytes.truncate(most);
    Ok(Beginning { bytes, is_cut })
}

/// Parses the first [`LIST`] bytes of a file in a process's procfs directory.
pub(crate) fn of_process<T: FromRead>(process: &Process, file: &str) -> ProcResult<T> {
    T::from_read(process.open_relative(file)?.take(LIST))
}

/// Reads a file of at most [`LIST`] bytes.
pub(crate) fn whole(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let read = beginning(path, LIST as usize)?;
    if read.is_cut { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(read.bytes) }
}

/// Reads a text of at most [`LIST`] bytes.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(whole(path)?).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_cut_or_refused() {
        let zeroes = beginning("/dev/zero", 10).unwrap();
        assert_eq!((zeroes.bytes, zeroes.is_cut), (vec![0; 10], true));
        assert_eq!(whole("/dev/zero").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_that_fits_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let read = beginning(&path, 10).unwrap();
        assert_eq!((read.bytes.as_slice(), read.is_cut), (b"0123456789".as_slice(), false));
        assert!(beginning(&path, 9).unwrap().is_cut);
        assert_eq!(text(&path).unwrap(), "0123456789");
    }
}
