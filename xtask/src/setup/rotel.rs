//! A collector of OpenTelemetry for the privileged tests: rotel, which only PyPI has.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{
    command::{self, say},
    workspace::Workspace,
};

/// The version that is known to work. Its program needs the libpython of 3.11, whichever python runs pip.
const VERSION: &str = "0.0.1a15";
/// The wheel that pip takes, also if its own python is another one.
const WHEEL: [&str; 8] = [
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
    "--platform",
    "manylinux_2_34_x86_64",
];

/// The path of the program, which is installed if it is missing. The tests look for it there.
///
/// # Errors
/// pip fails.
pub(super) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("xtask").join(format!("rotel-{VERSION}"));
    let program = folder.join("rotel/rotel-agent");
    if command::is_executable(&program) {
        return Ok(program);
    }
    say(&format!("installing rotel {VERSION} into {}: needed by the tests", folder.display()));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--root-user-action", "ignore", "--no-deps", "--only-binary", ":all:"]).args(WHEEL);
    pip.arg("--target").arg(&folder).arg(format!("rotel=={VERSION}"));
    command::run(&mut pip)?;
    ensure!(command::is_executable(&program), "pip installed no {}", program.display());
    Ok(program)
}
