//! Examples that are a line for the shell, run on a terminal.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{cargo, command};

/// Where examples run. It is not in the checkout, because the path is in the output.
const FOLDER: &str = "/tmp/example";
/// Where the shell finds the tool, as `tracer`.
const PROGRAMS: &str = "/tmp/example-programs";
/// Columns of the terminal.
const WIDTH: &str = "80";

/// The examples' folder, emptied.
pub(super) fn empty_folder() -> Result<PathBuf> {
    let folder = PathBuf::from(FOLDER);
    empty(&folder)?;
    Ok(folder)
}

/// Runs a line of the shell in the examples' folder, on a terminal, and returns what the terminal shows.
///
/// util-linux's `script` is at the other end of the terminal, where a user has a terminal emulator or sshd.
pub(super) fn screen(tool: &Path, target: &Path, line: &str) -> Result<String> {
    let programs = PathBuf::from(PROGRAMS);
    empty(&programs)?;
    std::os::unix::fs::symlink(tool, programs.join("tracer")).context("cannot link the tool")?;
    let mut script = Command::new(command::find("script").context("`script` is missing")?);
    cargo::forget_cargo(&mut script, target);
    let mut running = script
        .args(["-q", "-e", "-c", &format!("stty cols {WIDTH} rows 40; {line}"), "/dev/null"])
        .current_dir(FOLDER)
        .env("PATH", search_path(&programs)?)
        .env("SHELL", "/bin/bash")
        .env("LC_ALL", "C.UTF-8")
        .env("NO_COLOR", "1")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `script`")?;
    // The keyboard stays open until the end, so the shell gets no input and no end of the input.
    let keyboard = running.stdin.take();
    let output = running.wait_with_output().context("cannot wait for `script`")?;
    drop(keyboard);
    fs::remove_dir_all(&programs).context("cannot remove the link to the tool")?;
    let shown = String::from_utf8(output.stdout).context("the screen is no text")?;
    let shown = shown.replace('\r', "");
    ensure!(!shown.trim().is_empty(), "`{line}` shows nothing");
    ensure!(!is_failure(output.status.code()), "`{line}` does not run:\n{shown}");
    Ok(format!("$ {line}\n{}", shown.trim_end()))
}

/// Where programs are looked for: the tool first, then the machine's own programs, before a version manager's wrappers.
fn search_path(programs: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let all = [programs.to_path_buf()].into_iter().chain(system).chain(env::split_paths(&path));
    env::join_paths(all).context("no search path")
}

/// Whether tracer refused, or the shell found no such program. 0 and 1 are answers.
fn is_failure(code: Option<i32>) -> bool {
    !matches!(code, Some(0 | 1))
}

fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Fails if another user made one meanwhile.
        _ => fs::create_dir(folder),
    }
    .with_context(|| format!("cannot empty {}", folder.display()))
}
