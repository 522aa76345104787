//! Cross-compilation: Rust's libraries, a linker and busybox for another architecture, all from Debian.
//!
//! rustup has the libraries too, but only for compilers that it installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cargo,
    command::{self, say},
    setup::{
        self, packages,
        toolchain::{DEBIAN_RUSTC, DISTRIBUTION_RUSTC},
    },
    workspace::cache,
};
use anyhow::{Context as _, Result, bail};

use super::{
    architecture::Architecture,
    archive::{Archive, Suite},
};

const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Strips programs of that architecture.
pub(crate) const STRIP: &str = "aarch64-linux-gnu-strip";
const LIBRARIES_PACKAGE: &str = "libstd-rust-web-dev";
const BUSYBOX_PACKAGE: &str = "busybox-static";
/// Contains the name of this system's release as `VERSION_CODENAME`.
const OS_RELEASE: &str = "/etc/os-release";

/// Files for building and running programs of another architecture.
#[derive(Clone, Debug)]
pub(crate) struct Cross {
    /// The programs' architecture.
    pub(crate) architecture: Architecture,
    /// The sysroot that contains `lib/rustlib/TRIPLE`.
    pub(crate) sysroot: PathBuf,
    /// A static busybox.
    pub(crate) busybox: PathBuf,
}

impl Cross {
    /// Returns the files in the cache, or downloads them with apt.
    pub(crate) fn fetch(architecture: Architecture) -> Result<Self> {
        setup::ensure_for_arm64()?;
        let compiler = compiler_version()?;
        let debian = architecture.debian();
        let folder = cache::directory("what programs are built with")?.join("cross").join(debian);
        let sysroot = folder.join(&compiler);
        let cross = Self { architecture, sysroot, busybox: folder.join("busybox") };
        if !(cross.libraries().exists() && cross.busybox.exists()) {
            say(&format!("fetching Rust's libraries and busybox for {debian} with apt"));
            cross.download(&compiler).with_context(|| {
                format!("{LIBRARIES_PACKAGE} {compiler} for {debian} cannot be had from Debian")
            })?;
        }
        Ok(cross)
    }

    fn libraries(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(self.architecture.target())
    }

    fn download(&self, compiler: &str) -> Result<()> {
        let release = codename(&fs::read_to_string(OS_RELEASE).unwrap_or_default())?;
        let security = format!("{release}-security");
        let suites = [
            Suite { archive: "debian", name: &release },
            Suite { archive: "debian-security", name: &security },
        ];
        let archive = Archive::open(self.architecture, &suites)?;
        if !self.libraries().exists() {
            let tree = archive.unpack(&format!("{LIBRARIES_PACKAGE}={compiler}"))?;
            let triple = self.architecture.target();
            cache::store(&tree.join("usr/lib/rustlib").join(triple), &self.libraries())?;
        }
        if self.busybox.exists() {
            return Ok(());
        }
        let tree = archive.unpack(BUSYBOX_PACKAGE)?;
        // The second path is that of releases before 2024.
        let places = ["usr/bin/busybox", "bin/busybox"].map(|place| tree.join(place));
        let busybox = places.iter().find(|place| place.exists());
        cache::store(busybox.context("the package holds no busybox")?, &self.busybox)
    }

    /// Makes a cargo command build for the architecture, into a separate folder of `target`.
    pub(crate) fn configure(&self, cargo: &mut Command, target: &Path) {
        cargo::forget_host_compiler(cargo);
        let triple = self.architecture.target().to_uppercase().replace('-', "_");
        cargo
            .env("RUSTC", DISTRIBUTION_RUSTC)
            .env(format!("CARGO_TARGET_{triple}_LINKER"), LINKER)
            .arg("--target-dir")
            .arg(target.join(self.architecture.debian()));
    }
}

/// The version of Debian's compiler, which is installed if it is missing.
fn compiler_version() -> Result<String> {
    let ask = || {
        let query = ["--show", "--showformat=${Version}", DEBIAN_RUSTC];
        command::capture(Command::new("dpkg-query").args(query))
    };
    if ask().is_err() {
        packages::install(&[DEBIAN_RUSTC], "build programs for another processor")?;
    }
    ask()
}

/// The release in `/etc/os-release`: `bookworm` of `VERSION_CODENAME=bookworm`.
fn codename(os_release: &str) -> Result<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(name) = name else { bail!("{OS_RELEASE} does not say which Debian this is") };
    Ok(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_os_release() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert_eq!(codename("VERSION_CODENAME=\"trixie\"\n").unwrap(), "trixie");
        assert!(codename("ID=debian\n").is_err());
    }
}
