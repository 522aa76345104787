//! `tracer export` becomes the program tracer-export, as git does with the programs of its actions.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::AppError;

/// Name of the program.
const PROGRAM: &str = "tracer-export";

/// Becomes the program, and returns only if that fails.
#[must_use]
pub fn export(arguments: &[OsString]) -> AppError {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let folders = env::var_os("PATH").unwrap_or_default();
    // With a relative folder in PATH, the program would be that of the current folder.
    let of_path = env::split_paths(&folders).filter(|folder| folder.is_absolute());
    let candidates = beside.into_iter().chain(of_path).map(|folder| folder.join(PROGRAM));
    match become_first(candidates, arguments) {
        Some((program, source)) => AppError::Program { program, source },
        None => AppError::NoProgram { program: PROGRAM },
    }
}

/// Becomes the first of these programs that there is. Returns the one that cannot be started.
fn become_first(
    candidates: impl Iterator<Item = PathBuf>,
    arguments: &[OsString],
) -> Option<(PathBuf, io::Error)> {
    for program in candidates {
        let error = Command::new(&program).args(arguments).exec();
        let is_missing =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if !is_missing || program.is_file() {
            return Some((program, error));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(become_first([at("none"), at("none/x")].into_iter(), &[]).is_none());
        std::fs::write(at("text"), "text").unwrap();
        let (program, error) = become_first([at("none"), at("text")].into_iter(), &[]).unwrap();
        assert_eq!((program, error.kind()), (at("text"), io::ErrorKind::PermissionDenied));
    }
}
