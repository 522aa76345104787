//! Debian's cloud kernels, from the releases of Debian that contain them.
//!
//! Images are stored in the user's cache; nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{command::say, workspace::cache};
use anyhow::{Context as _, Result, bail};

use super::{
    architecture::Architecture::{self, Arm, X86},
    archive::{Archive, Suite},
};

/// A kernel series and its suite of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its architecture.
    pub architecture: Architecture,
    suite: Suite<'static>,
}

const fn series(name: &'static str, architecture: Architecture, suite: Suite<'static>) -> Series {
    Series { name, architecture, suite }
}

const fn debian(name: &'static str) -> Suite<'static> {
    Suite { archive: "debian", name }
}

const BULLSEYE: Suite<'static> = Suite { archive: "debian-security", name: "bullseye-security" };

/// The kernel of Debian unstable.
pub const NEWEST: Series = series("7", X86, debian("sid"));

/// All series, oldest first. Newer arm64 kernels have a format that qemu in Debian 12 does not boot.
pub const ALL: [Series; 6] = [
    series("5.10", X86, BULLSEYE),
    series("5.10-arm64", Arm, debian("bullseye")),
    series("6.1", X86, debian("bookworm")),
    series("6.12", X86, debian("trixie")),
    series("6.12-arm64", Arm, debian("trixie")),
    NEWEST,
];

/// A kernel in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its series' name.
    pub name: &'static str,
    /// Its architecture.
    pub architecture: Architecture,
    /// Its release, such as `6.1.0-50-cloud-amd64`.
    pub release: String,
    /// The path of the compressed kernel.
    pub image: PathBuf,
}

impl Series {
    /// Finds a series by name.
    pub fn find(name: &str) -> Result<Self> {
        let names: Vec<_> = ALL.iter().map(|series| series.name).collect();
        let found = ALL.into_iter().find(|series| series.name == name);
        found.with_context(|| format!("no kernel is called {name}: there are {}", names.join(", ")))
    }

    /// Returns the kernel in the cache, or downloads one with apt.
    ///
    /// A kernel in the cache is never updated: remove it there to get a newer one.
    pub fn fetch(self) -> Result<Kernel> {
        let folder = cache::directory("the kernels")?.join("kernels").join(self.name);
        if let Some(kernel) = self.cached(&folder) {
            return Ok(kernel);
        }
        let Suite { archive, name: suite } = self.suite;
        say(&format!("fetching Debian's kernel {} ({suite}) with apt", self.name));
        self.download(&folder).with_context(|| {
            format!("kernel {} cannot be had from Debian's archive `{archive}`", self.name)
        })?;
        self.cached(&folder)
            .with_context(|| format!("the package left no kernel in {}", folder.display()))
    }

    fn cached(self, folder: &Path) -> Option<Kernel> {
        let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let mut images: Vec<_> =
            entries.filter_map(|path| Some((release_of(&path)?, path))).collect();
        images.sort();
        let (release, image) = images.pop()?;
        let Self { name, architecture, suite: _ } = self;
        Some(Kernel { name, architecture, release, image })
    }

    fn download(self, folder: &Path) -> Result<()> {
        let archive = Archive::open(self.architecture, &[self.suite])?;
        // This package depends on the newest cloud kernel of its suite.
        let meta = format!("linux-image-cloud-{}", self.architecture.debian());
        let package = newest_image(&archive.query(&["depends", &meta])?)
            .with_context(|| format!("{meta} of {} names no kernel", self.suite.name))?;
        // Since 7.x the image is in a separate package.
        let binary = package.replace("linux-image-", "linux-binary-");
        let package = if archive.has(&binary) { binary } else { package };
        let image = find_image(&archive.unpack(&package)?)?;
        let release =
            package.trim_start_matches("linux-image-").trim_start_matches("linux-binary-");
        cache::store(&image, &folder.join(format!("vmlinuz-{release}")))
    }
}

/// The kernel's package in the output of `apt-cache depends` for the meta package.
fn newest_image(depends: &str) -> Option<String> {
    let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    packages.find(|package| package.starts_with("linux-image-")).map(str::to_owned)
}

/// Finds `boot/vmlinuz-*`, or `usr/lib/modules/*/vmlinuz` since 7.x.
fn find_image(tree: &Path) -> Result<PathBuf> {
    let mut folders = vec![tree.join("boot")];
    let modules = fs::read_dir(tree.join("usr/lib/modules")).into_iter().flatten().flatten();
    folders.extend(modules.map(|entry| entry.path()));
    for folder in folders {
        let mut files = fs::read_dir(folder).into_iter().flatten().flatten();
        let is_image = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("vmlinuz");
        if let Some(file) = files.find(|file| is_image(&file.file_name())) {
            return Ok(file.path());
        }
    }
    bail!("the package holds no vmlinuz")
}

/// The release in the file name of a cached image.
fn release_of(image: &Path) -> Option<String> {
    Some(image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_read_from_the_meta_package() {
        let old = "linux-image-cloud-amd64\n  Depends: linux-image-5.10.0-46-cloud-amd64\n";
        assert_eq!(newest_image(old).unwrap(), "linux-image-5.10.0-46-cloud-amd64");
        let new = "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  \
            Depends: linux-image-7.2.13+deb14-cloud-amd64\n";
        assert_eq!(newest_image(new).unwrap(), "linux-image-7.2.13+deb14-cloud-amd64");
        assert_eq!(newest_image("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn the_image_is_found_in_old_and_new_packages() {
        for place in ["boot/vmlinuz-5.10.0-46-cloud-amd64", "usr/lib/modules/7.2.13/vmlinuz"] {
            let tree = tempfile::tempdir().unwrap();
            let image = tree.path().join(place);
            fs::create_dir_all(image.parent().unwrap()).unwrap();
            fs::write(&image, "").unwrap();
            assert_eq!(find_image(tree.path()).unwrap(), image);
        }
    }

    #[test]
    fn a_cached_kernel_is_not_fetched_and_half_a_download_is_no_kernel() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ALL[0].cached(folder.path()), None);
        fs::write(folder.path().join("partial"), "").unwrap();
        assert_eq!(ALL[0].cached(folder.path()), None);
        let image = folder.path().join("vmlinuz-5.10.0-46-cloud-amd64");
        fs::write(&image, "").unwrap();
        let kernel = ALL[0].cached(folder.path()).unwrap();
        let release = "5.10.0-46-cloud-amd64".into();
        assert_eq!(kernel, Kernel { name: "5.10", architecture: X86, release, image });
    }

    #[test]
    fn an_unknown_kernel_is_answered_with_those_there_are() {
        let error = Series::find("4.19").unwrap_err().to_string();
        assert!(error.contains("there are 5.10, 5.10-arm64, 6.1, 6.12, 6.12-arm64, 7"), "{error}");
    }
}
