//! Debian's cloud kernels, each out of the release of Debian that carries it.
//!
//! The package is downloaded with apt, by a sources list of its own so that the system's lists and
//! packages stay as they are, and its image is kept in the user's cache; nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cache,
    command::{self, say},
};

/// A kernel, and where Debian keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// The archive below [`ARCHIVES`].
    archive: &'static str,
    /// The suite in it.
    suite: &'static str,
}

/// Whatever Debian's unstable has.
pub(crate) const NEWEST: Series = Series { name: "7", archive: "debian", suite: "sid" };

/// Oldest first.
pub(crate) const ALL: [Series; 4] = [
    Series { name: "5.10", archive: "debian-security", suite: "bullseye-security" },
    Series { name: "6.1", archive: "debian", suite: "bookworm" },
    Series { name: "6.12", archive: "debian", suite: "trixie" },
    NEWEST,
];

const ARCHIVES: &str = "http://deb.debian.org";
/// Depends on the newest cloud kernel of its suite.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its series' name.
    pub(crate) name: &'static str,
    /// What it calls itself, like `6.1.0-50-cloud-amd64`.
    pub(crate) release: String,
    /// The compressed kernel.
    pub(crate) image: PathBuf,
}

impl Series {
    /// The series called `name`.
    pub(crate) fn find(name: &str) -> Result<Self> {
        let names: Vec<_> = ALL.iter().map(|series| series.name).collect();
        let found = ALL.into_iter().find(|series| series.name == name);
        found.with_context(|| format!("no kernel is called {name}: there are {}", names.join(", ")))
    }

    /// The kernel out of the cache, or by apt.
    ///
    /// A kernel in the cache stays what it is: remove it there to have a newer one.
    pub(crate) fn fetch(self) -> Result<Kernel> {
        let folder = cache::directory("the kernels")?.join("kernels").join(self.name);
        if let Some(kernel) = self.cached(&folder) {
            return Ok(kernel);
        }
        ensure_can_fetch()?;
        say(&format!("fetching Debian's kernel {} ({}) with apt", self.name, self.suite));
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        self.download(&folder).with_context(|| {
            format!("kernel {} cannot be had from {ARCHIVES}/{}", self.name, self.archive)
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
        Some(Kernel { name: self.name, release, image })
    }

    fn download(self, folder: &Path) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let apt = Apt::prepare(scratch.path(), self)?;
        command::run(apt.get().arg("update"))?;
        let depends = command::capture(apt.cache().args(["depends", META_PACKAGE]))?;
        let package = newest_image(&depends)
            .with_context(|| format!("{META_PACKAGE} of {} names no kernel", self.suite))?;
        // From 7.x on the image is in a package of its own.
        let binary = package.replace("linux-image-", "linux-binary-");
        let has_binary = command::succeeds(apt.cache().args(["show", &binary]));
        let package = if has_binary { binary } else { package };
        command::run(apt.get().current_dir(scratch.path()).args(["download", &package]))?;
        let image = unpack(scratch.path())?;
        let release =
            package.trim_start_matches("linux-image-").trim_start_matches("linux-binary-");
        keep(&image, &folder.join(format!("vmlinuz-{release}")))
    }
}

/// apt with lists and sources of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn prepare(scratch: &Path, series: Series) -> Result<Self> {
        let Series { archive, suite, name: _ } = series;
        for folder in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(scratch.join(folder)).context("cannot create apt's directories")?;
        }
        let list = scratch.join("sources.list");
        fs::write(&list, format!("deb [arch=amd64] {ARCHIVES}/{archive} {suite} main\n"))
            .with_context(|| format!("cannot write {}", list.display()))?;
        let set = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
        let path = |below: &str| scratch.join(below).display().to_string();
        let options = [
            set("Dir::Etc::sourcelist", &path("sources.list")),
            set("Dir::Etc::sourceparts", "-"),
            set("Dir::State::Lists", &path("lists")),
            set("Dir::Cache", &path("")),
            set("Acquire::Languages", "none"),
            // Descriptions for software centres: as large as the list itself.
            set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"),
            // The directory is ours alone, so apt's own user cannot write there.
            set("APT::Sandbox::User", "root"),
        ];
        Ok(Self { options: options.concat() })
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(&self.options);
        command
    }

    fn cache(&self) -> Command {
        let mut command = Command::new("apt-cache");
        command.args(&self.options);
        command
    }
}

/// The kernel's package in what `apt-cache depends` says about the meta package.
fn newest_image(depends: &str) -> Option<String> {
    let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    packages.find(|package| package.starts_with("linux-image-")).map(str::to_owned)
}

/// Takes the kernel out of the one package in `folder`, without installing it.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).context("cannot list the download")?.flatten();
    let package = entries
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.context("apt-get download left no package")?;
    let tree = folder.join("tree");
    command::run(Command::new("dpkg-deb").arg("--extract").args([&package, &tree]))?;
    find_image(&tree)
}

/// `boot/vmlinuz-*`, or `usr/lib/modules/*/vmlinuz` from 7.x on.
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

/// Moves into the cache in one step, so that an interrupted download leaves nothing half done.
fn keep(image: &Path, place: &Path) -> Result<()> {
    let partial = place.with_file_name("partial");
    fs::copy(image, &partial)
        .and_then(|_| fs::rename(&partial, place))
        .with_context(|| format!("cannot write {}", place.display()))
}

/// The release in the name of a cached image.
fn release_of(image: &Path) -> Option<String> {
    Some(image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned())
}

/// Makes sure that apt and dpkg are there: the kernels are Debian's.
fn ensure_can_fetch() -> Result<()> {
    for program in ["apt-get", "dpkg-deb"] {
        ensure!(
            command::find(program).is_some(),
            "{program} is missing: the kernels are Debian's packages, so run this on Debian or Ubuntu"
        );
    }
    Ok(())
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
        assert_eq!(kernel, Kernel { name: "5.10", release: "5.10.0-46-cloud-amd64".into(), image });
    }

    #[test]
    fn an_unknown_kernel_is_answered_with_those_there_are() {
        let error = Series::find("4.19").unwrap_err().to_string();
        assert!(error.contains("there are 5.10, 6.1, 6.12, 7"), "{error}");
    }
}
