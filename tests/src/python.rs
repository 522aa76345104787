//! Python packages of tests: they are installed once, into a virtual environment in the target folder.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::deadline::{OwnedChild, describe};

/// How long an installation may take.
const INSTALLATION: Duration = Duration::from_secs(540);

/// The interpreter of an environment with these packages, such as `duckdb==1.0`. What is missing is installed by pip.
pub fn with_packages(environment: &str, packages: &[&str]) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = target.join(environment);
    let python = folder.join("bin/python3");
    if has(&python, packages) {
        return Ok(python);
    }
    let wanted = packages.join(", ");
    let why =
        || format!("cannot install {wanted} into {}: pip needs the network once", folder.display());
    if !python.is_file() {
        let mut make = Command::new("python3");
        run(make.args(["-m", "venv"]).arg(&folder))
            .context("python3 cannot make an environment: install python3-venv")?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--retries", "1", "--timeout", "20", "--only-binary", ":all:"]).args(packages);
    run(&mut pip).with_context(why)?;
    ensure!(has(&python, packages), why());
    Ok(python)
}

/// Whether an interpreter has these packages in these versions.
fn has(python: &Path, packages: &[&str]) -> bool {
    let script = "import sys; from importlib.metadata import version\n\
                  for it in sys.argv[1:]: name, wanted = it.split('=='); assert version(name) == wanted";
    let mut command = Command::new(python);
    command.args(["-c", script]).args(packages);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command to its end. What it prints goes to this test's standard error.
fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = OwnedChild::spawn(command, "the installation")?;
    let status = child.wait_for(INSTALLATION)?;
    ensure!(status.success(), "{}", describe(status));
    Ok(())
}
