//! `tracer export` becomes the program tracer-export, as git does with the programs of its actions.

use std::{env, ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use super::AppError;

/// Name of the program.
const PROGRAM: &str = "tracer-export";
/// Where packages put it. Without `/proc`, nothing says where tracer's own executable is.
const OF_PACKAGES: &str = "/usr/bin";

/// Becomes the program, and returns only if that fails.
#[must_use]
pub fn export(arguments: &[OsString]) -> AppError {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let folders = env::var_os("PATH").unwrap_or_default();
    // With a relative folder in PATH, the program would be that of the current folder.
    let of_path = env::split_paths(&folders).filter(|folder| folder.is_absolute());
    let folders = beside.into_iter().chain(of_path).chain([OF_PACKAGES.into()]);
    let candidates = folders.map(|folder| folder.join(PROGRAM));
    let mut programs = candidates.filter(|program| program.is_file());
    let Some(program) = programs.next() else {
        return AppError::NoProgram { program: PROGRAM };
    };
    let source = Command::new(&program).args(arguments).exec();
    AppError::Program { program, source }
}
