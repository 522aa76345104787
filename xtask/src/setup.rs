//! Finds or installs the programs that the tasks need.
//!
//! `cargo xtask run` checks this at each start. Results are therefore stored in a stamp, which is valid as long as
//! the same files are there.

pub mod cargo_tool;
pub mod packages;
mod rotel;
pub mod toolchain;

use std::{
    env, fmt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, bail};

use self::{
    cargo_tool::{BPF_LINKER, CARGO_DENY},
    toolchain::{BpfToolchain, Core, RustcVersion},
};
use crate::{
    cargo, command,
    workspace::{Workspace, file_identity},
};

/// Programs to look for beyond those of a build.
#[derive(Clone, Copy, Default)]
pub struct Extras {
    /// For the privileged tests.
    pub tests: bool,
    /// For `cargo xtask vm`.
    pub vm: bool,
    /// For `cargo xtask ci`.
    pub ci: bool,
    /// Other tracers, with which `cargo xtask bench` compares.
    pub bench: bool,
}

/// The programs of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The compiler of the eBPF programs.
    pub(crate) toolchain: BpfToolchain,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
    /// The directory in which bpf-linker finds the compiler's LLVM.
    pub(crate) llvm_dir: PathBuf,
}

impl Ready {
    /// Makes a cargo command build for the BPF target, to run on this machine.
    pub fn configure(&self, cargo: &mut Command) {
        self.configure_for(cargo, env::consts::ARCH);
    }

    /// The path of a program that belongs to the BPF compiler, such as its clippy.
    pub fn companion(&self, program: &str) -> PathBuf {
        self.toolchain.rustc.with_file_name(program)
    }

    /// Like [`Self::configure`], to run on machines of `architecture`.
    pub fn configure_for(&self, cargo: &mut Command, architecture: &str) {
        self.toolchain.configure(cargo, architecture, &self.linker, &self.llvm_dir);
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { toolchain, linker, llvm_dir: _ } = self;
        write!(f, "ready: BPF compiler {toolchain}, bpf-linker {}", linker.display())
    }
}

/// Finds the programs and installs missing ones.
///
/// # Errors
///
/// A program is missing and cannot be installed. Missing tracers of the benchmark are only reported.
pub fn ensure(workspace: &Workspace, extras: Extras) -> Result<Ready> {
    let ready = ensure_for_build(workspace)?;
    if extras.tests {
        ensure_installed(packages::missing_for_tests, "run the privileged tests")?;
        rotel::ensure(workspace)?;
    }
    if extras.vm {
        ensure_installed(packages::missing_for_vm, "boot other kernels")?;
    }
    if extras.ci {
        ensure_for_ci(workspace, &ready)?;
    }
    if extras.bench {
        install_other_tracers();
    }
    Ok(ready)
}

fn ensure_for_build(workspace: &Workspace) -> Result<Ready> {
    let stamp = workspace.stamp("setup");
    if let Some(ready) = stamp.read().as_deref().and_then(recall) {
        return Ok(ready);
    }
    if command::find("cc").is_none() {
        packages::install(&packages::C_LINKER, "link Rust programs")?;
    }
    // apt waits for the network, and cargo compiles meanwhile.
    let (toolchain, linker) = thread::scope(|scope| {
        let linker = scope.spawn(|| BPF_LINKER.ensure(workspace));
        let toolchain = find_or_install_toolchain();
        (toolchain, linker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let (toolchain, linker) = (toolchain?, linker?);
    let llvm_dir = workspace.llvm_dir();
    toolchain.expose_llvm(&llvm_dir)?;
    let ready = Ready { toolchain, linker, llvm_dir };
    stamp.write(&remember(&ready))?;
    Ok(ready)
}

fn find_or_install_toolchain() -> Result<BpfToolchain> {
    let search = toolchain::search()?;
    if let Some(found) = search.found {
        return Ok(found);
    }
    if !(packages::has_apt() && packages::is_root()) {
        bail!(search.what_is_missing());
    }
    let purpose = "compile eBPF programs";
    packages::install(&toolchain::DEBIAN_PACKAGES, purpose)
        .with_context(|| search.what_is_missing())?;
    let search = toolchain::search()?;
    match search.found {
        Some(found) => Ok(found),
        None => bail!(search.what_is_missing()),
    }
}

/// Finds or installs the compiler and the emulator for arm64.
pub fn ensure_for_arm64() -> Result<()> {
    ensure_installed(packages::missing_for_arm64, "boot kernels for arm64")
}

/// Installs the packages that `missing` returns. Fails if a package is still missing afterwards.
fn ensure_installed(missing: fn() -> Vec<&'static str>, purpose: &str) -> Result<()> {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    packages::install(&packages, purpose)?;
    let packages = missing();
    if !packages.is_empty() {
        let list = packages.join(" ");
        bail!("installed, but the programs expected of {list} are still not found in PATH");
    }
    Ok(())
}

/// The benchmark reports a tracer that is still missing as absent.
fn install_other_tracers() {
    let missing = packages::missing(&packages::FOR_BENCH);
    if missing.is_empty() {
        return;
    }
    if let Err(error) = packages::install(&missing, "compare tracer with them") {
        command::say(&format!("{error:#}"));
    }
}

/// Finds or installs the C++ compiler of the fuzzers, which need no eBPF toolchain.
pub fn ensure_for_fuzz() -> Result<()> {
    ensure_installed(packages::missing_for_fuzz, "build libFuzzer")
}

/// Finds or installs the programs that try packages, here and in other userlands.
pub fn ensure_for_packages(userlands: bool) -> Result<()> {
    ensure_installed(packages::missing_for_packages, "try packages")?;
    if userlands {
        ensure_installed(packages::missing_for_userlands, "try packages in other userlands")?;
    }
    Ok(())
}

fn ensure_for_ci(workspace: &Workspace, ready: &Ready) -> Result<()> {
    for component in ["fmt", "clippy"] {
        let mut version = cargo::cargo(workspace);
        if !command::succeeds(version.args([component, "--version"])) {
            bail!(
                "`cargo {component}` does not work: install the components rustfmt and clippy \
                 (`rustup component add rustfmt clippy`)"
            );
        }
    }
    let clippy = ready.companion("clippy-driver");
    if !command::is_executable(&clippy) {
        match ready.toolchain.core {
            Core::Precompiled => packages::install(&["rust-web-clippy"], "check the BPF crates")?,
            Core::FromSource => bail!(
                "{} is missing: add clippy to that toolchain (`rustup component add clippy \
                 --toolchain NAME`)",
                clippy.display()
            ),
        }
    }
    ensure_for_fuzz()?;
    ensure_for_packages(false)?;
    CARGO_DENY.ensure(workspace)?;
    Ok(())
}

/// The stamp: the programs, and the identities of their files.
fn remember(ready: &Ready) -> String {
    let Ready { toolchain, linker, llvm_dir } = ready;
    let BpfToolchain { rustc, core, core_path, llvm, version } = toolchain;
    let identity = |file: &Path| file_identity(file).unwrap_or_default();
    format!(
        "rustc={}\nrustc-file={}\ncore={}\ncore-path={}\nrelease={}\nllvm-major={}\n\
         llvm={}\nllvm-file={}\nllvm-dir={}\nlinker={}\nlinker-file={}\ncc={}\n\
         rustup-home={}\n",
        rustc.display(),
        identity(rustc),
        match core {
            Core::Precompiled => "precompiled",
            Core::FromSource => "source",
        },
        core_path.display(),
        version.release,
        version.llvm_major,
        llvm.display(),
        identity(llvm),
        llvm_dir.display(),
        linker.display(),
        identity(linker),
        command::find("cc").unwrap_or_default().display(),
        rustup_home(),
    )
}

/// The programs in a stamp, if the same files are still there.
fn recall(stamp: &str) -> Option<Ready> {
    let field =
        |name: &str| stamp.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let core = match field("core")? {
        "precompiled" => Core::Precompiled,
        "source" => Core::FromSource,
        _ => return None,
    };
    let release = field("release")?.to_owned();
    let version = RustcVersion { release, llvm_major: field("llvm-major")?.parse().ok()? };
    let path = |name: &str| field(name).map(PathBuf::from);
    let ready = Ready {
        toolchain: BpfToolchain {
            rustc: path("rustc")?,
            core,
            core_path: path("core-path")?,
            llvm: path("llvm")?,
            version,
        },
        linker: path("linker")?,
        llvm_dir: path("llvm-dir")?,
    };
    // The whole text differs if a file changed, appeared or vanished.
    let unchanged = ready.toolchain.version.llvm_major == toolchain::LLVM_MAJOR
        && ready.toolchain.core_path.exists()
        && ready.llvm_dir.join(toolchain::LLVM_LINK).exists()
        && command::is_executable(&ready.linker)
        && command::find("cc").is_some()
        && remember(&ready) == stamp;
    unchanged.then_some(ready)
}

/// Another rustup home may hold another toolchain.
fn rustup_home() -> String {
    env::var_os("RUSTUP_HOME").unwrap_or_default().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(dir: &Path) -> Ready {
        std::fs::write(dir.join(toolchain::LLVM_LINK), "").unwrap();
        let sh = command::find("sh").unwrap();
        let version = RustcVersion { release: "1.96.0".into(), llvm_major: 22 };
        Ready {
            toolchain: BpfToolchain {
                rustc: sh.clone(),
                core: Core::Precompiled,
                core_path: "/".into(),
                llvm: sh.clone(),
                version,
            },
            linker: sh,
            llvm_dir: dir.into(),
        }
    }

    #[test]
    fn a_stamp_is_valid_while_the_files_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let ready = ready(dir.path());
        assert_eq!(recall(&remember(&ready)), Some(ready));
    }

    #[test]
    fn a_changed_or_missing_file_invalidates_a_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let mut ready = ready(dir.path());
        let changed = remember(&ready).replace("linker-file=", "linker-file=1");
        assert_eq!(recall(&changed), None);
        ready.toolchain.core_path = dir.path().join("gone");
        assert_eq!(recall(&remember(&ready)), None);
    }

    #[test]
    fn a_foreign_stamp_is_ignored() {
        assert_eq!(recall("something else\n"), None);
    }
}
