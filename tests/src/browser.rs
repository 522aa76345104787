//! Opens pages in a real Chromium without a window, and finds the programs that draw graphs.
//!
//! `apt install chromium graphviz` and `npm install -g mermaid` bring them. A test of a program that is missing says so
//! and checks nothing.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{deadline::describe, refusal::run_command};

/// Environment variable with the path of `mermaid.min.js`.
pub const MERMAID_ENV: &str = "TRACER_MERMAID";

/// Where npm puts what it installs for everyone.
const NODE_MODULES: [&str; 2] = ["/usr/lib/node_modules", "/usr/local/lib/node_modules"];

/// A page as Chromium understood it.
#[derive(Debug)]
pub struct Opened {
    /// The document after all its scripts ran, written as HTML.
    pub document: String,
    /// What Chromium logged, such as violations of the page's policy.
    pub log: String,
}

/// A program of this name in `PATH`; says that the test is skipped if there is none.
pub fn find(name: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    let found =
        env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no {name} in PATH");
    }
    found
}

/// Mermaid as one script: [`MERMAID_ENV`], or what npm installed; says that the test is skipped if there is none.
pub fn mermaid() -> Option<PathBuf> {
    let installed =
        NODE_MODULES.map(|folder| Path::new(folder).join("mermaid/dist/mermaid.min.js"));
    let named = env::var_os(MERMAID_ENV).map(PathBuf::from);
    let found = named.into_iter().chain(installed).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no mermaid ({MERMAID_ENV} names its mermaid.min.js)");
    }
    found
}

/// Opens a page.
pub fn open(chromium: &Path, page: &Path) -> Result<Opened> {
    let folder = tempfile::tempdir()?;
    let mut command = base(chromium, folder.path());
    command.args(["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"]);
    let (document, log) = run(command.arg(address(page)?))?;
    Ok(Opened { document, log })
}

/// Takes a picture of a page as PNG. `size`: of the window, in pixels.
pub fn screenshot(
    chromium: &Path,
    page: &Path,
    picture: &Path,
    (width, height): (u32, u32),
    is_dark: bool,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = base(chromium, folder.path());
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!is_dark));
    command.args(["--hide-scrollbars", &scheme, &format!("--window-size={width},{height}")]);
    run(command.arg(format!("--screenshot={}", picture.display())).arg(address(page)?)).map(drop)
}

/// Prints a page into a PDF file.
pub fn print(chromium: &Path, page: &Path, pdf: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = base(chromium, folder.path());
    let to = format!("--print-to-pdf={}", pdf.display());
    run(command.args(["--no-pdf-header-footer", &to]).arg(address(page)?)).map(drop)
}

/// Chromium that keeps its files in `folder` and asks no network.
fn base(chromium: &Path, folder: &Path) -> Command {
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(format!("--user-data-dir={}", folder.display()));
    command
}

fn address(page: &Path) -> Result<String> {
    let page = page.canonicalize().with_context(|| format!("no page {}", page.display()))?;
    Ok(format!("file://{}", page.display()))
}

fn run(command: &mut Command) -> Result<(String, String)> {
    let output = run_command(command)?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "chromium: {}: {log}", describe(output.status));
    Ok((String::from_utf8(output.stdout)?, log))
}
