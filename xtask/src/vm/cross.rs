//! Programs for a processor that this machine does not have: the compiler's libraries, a linker, a busybox.
//!
//! rustup could have the libraries too, where it was used to install the compiler; Debian has them wherever the
//! compiler of the eBPF programs comes from Debian.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use xtask::{
    cache,
    command::{self, say},
    environment, packages, setup,
    toolchain::{DEBIAN_RUSTC, DISTRIBUTION_RUSTC},
};

use super::{
    architecture::Architecture,
    archive::{Archive, Suite},
};

const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Takes the symbols out of such programs.
pub(crate) const STRIP: &str = "aarch64-linux-gnu-strip";
const LIBRARIES_PACKAGE: &str = "libstd-rust-web-dev";
const BUSYBOX_PACKAGE: &str = "busybox-static";
/// Names this system's release in `VERSION_CODENAME`.
const OS_RELEASE: &str = "/etc/os-release";

/// What programs of another architecture are made with.
#[derive(Clone, Debug)]
pub(crate) struct Cross {
    /// Of the programs.
    pub(crate) architecture: Architecture,
    /// Where the compiler finds `lib/rustlib/TRIPLE`.
    pub(crate) sysroot: PathBuf,
    /// A static one.
    pub(crate) busybox: PathBuf,
}

impl Cross {
    /// All of it out of the cache, or by apt.
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
            cache::keep(&tree.join("usr/lib/rustlib").join(triple), &self.libraries())?;
        }
        if self.busybox.exists() {
            return Ok(());
        }
        let tree = archive.unpack(BUSYBOX_PACKAGE)?;
        // Since 2024 everything is below usr.
        let places = ["usr/bin/busybox", "bin/busybox"].map(|place| tree.join(place));
        let busybox = places.iter().find(|place| place.exists());
        cache::keep(busybox.context("the package holds no busybox")?, &self.busybox)
    }

    /// Makes a cargo command build with it, into a folder of its own.
    pub(crate) fn configure(&self, cargo: &mut Command, target: &Path) {
        environment::forget_host_compiler(cargo);
        let triple = self.architecture.target().to_uppercase().replace('-', "_");
        cargo
            .env("RUSTC", DISTRIBUTION_RUSTC)
            .env(format!("CARGO_TARGET_{triple}_LINKER"), LINKER)
            .arg("--target-dir")
            .arg(target.join(self.architecture.debian()));
    }
}

/// The version of Debian's compiler, which is installed if it is not there.
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

/// `bookworm` of `VERSION_CODENAME=bookworm`.
fn codename(os_release: &str) -> Result<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(name) = name else { bail!("{OS_RELEASE} does not say which Debian this is") };
    Ok(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_what_the_system_says_of_itself() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert_eq!(codename("VERSION_CODENAME=\"trixie\"\n").unwrap(), "trixie");
        assert!(codename("ID=debian\n").is_err());
    }
}
