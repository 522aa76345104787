//! Finds the file of a command, before anything is attached.
//!
//! A shell tries `execve(2)` in one directory of `PATH` after another. In the trace each of these failures would look
//! like a failure of the command.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

use super::LaunchError;

/// Where execvp(3) searches if `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

enum Found {
    Executable,
    Missing,
    Refused(io::Error),
}

/// The file to execute.
pub(super) fn find(name: &OsStr, search: Option<&OsStr>) -> Result<PathBuf, LaunchError> {
    let not_found = || LaunchError::CommandNotFound { name: name.to_string_lossy().into_owned() };
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match look_at(&path) {
            Found::Executable => Ok(path),
            Found::Missing => Err(not_found()),
            Found::Refused(errno) => Err(LaunchError::NotExecutable { path, errno }),
        };
    }
    if name.is_empty() {
        return Err(not_found());
    }
    let mut refused = None;
    for directory in std::env::split_paths(search.unwrap_or(OsStr::new(DEFAULT_PATH))) {
        // An empty entry means the working directory. Without a slash, the name would be searched for again.
        let directory =
            if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        let path = directory.join(name);
        match look_at(&path) {
            Found::Executable => return Ok(path),
            Found::Missing => {}
            Found::Refused(errno) => {
                refused.get_or_insert(LaunchError::NotExecutable { path, errno });
            }
        }
    }
    Err(refused.unwrap_or_else(not_found))
}

fn look_at(path: &Path) -> Found {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return Found::Refused(Errno::ISDIR.into()),
        Ok(_) => {}
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Found::Missing,
                _ => Found::Refused(error),
            };
        }
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Found::Executable,
        Err(errno) => Found::Refused(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn write(path: &Path, mode: u32) {
        fs::write(path, "#!/bin/true\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_executable_in_the_search_path_wins() {
        let root = tempfile::tempdir().unwrap();
        let [first, second, third] = ["a", "b", "c"].map(|name| root.path().join(name));
        for directory in [&first, &second, &third] {
            fs::create_dir(directory).unwrap();
        }
        write(&first.join("tool"), 0o644);
        write(&second.join("tool"), 0o755);
        write(&third.join("tool"), 0o755);
        let search = std::env::join_paths([&first, &second, &third]).unwrap();
        assert_eq!(find(OsStr::new("tool"), Some(&search)).unwrap(), second.join("tool"));
        let error = find(OsStr::new("tool"), Some(first.as_os_str())).unwrap_err();
        assert!(matches!(error, LaunchError::NotExecutable { .. }), "{error}");
    }

    #[test]
    fn a_path_is_not_searched_for() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let error = find(missing.as_os_str(), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{}` does not exist: check the path", missing.display())
        );
        let error = find(root.path().as_os_str(), None).unwrap_err();
        assert!(error.to_string().contains("is a directory"), "{error}");
        assert_eq!(find(OsStr::new("/bin/sh"), None).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn an_unknown_name_is_not_found() {
        for name in ["no-such-command-anywhere", ""] {
            let error = find(OsStr::new(name), Some(OsStr::new("/bin:/usr/bin"))).unwrap_err();
            assert!(matches!(error, LaunchError::CommandNotFound { .. }), "{error}");
        }
        assert_eq!(find(OsStr::new("sh"), None).unwrap(), Path::new("/bin/sh"));
    }
}
