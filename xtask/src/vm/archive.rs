//! Downloads and unpacks Debian packages of any architecture and suite, without installing them.
//!
//! apt runs with its own sources list and directories, so that the system's lists and packages stay unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::command;
use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::architecture::Architecture;

/// The server of the archives.
const MIRROR: &str = "http://deb.debian.org";

/// A suite of an archive on [`MIRROR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suite<'a> {
    /// `debian`, or `debian-security`.
    pub(crate) archive: &'a str,
    /// A release's name, or `sid`.
    pub(crate) name: &'a str,
}

/// apt with its own lists and sources.
pub(crate) struct Archive {
    scratch: TempDir,
    options: Vec<String>,
}

impl Archive {
    /// Fetches the lists of these suites.
    pub(crate) fn open(architecture: Architecture, suites: &[Suite<'_>]) -> Result<Self> {
        ensure_can_fetch()?;
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let options = prepare(scratch.path(), architecture.debian(), suites)?;
        let archive = Self { scratch, options };
        command::run(archive.get().arg("update"))?;
        Ok(archive)
    }

    /// The output of `apt-cache`.
    pub(crate) fn query(&self, question: &[&str]) -> Result<String> {
        command::capture(Command::new("apt-cache").args(&self.options).args(question))
    }

    /// Whether the suites contain a package.
    pub(crate) fn has(&self, package: &str) -> bool {
        command::succeeds(Command::new("apt-cache").args(&self.options).args(["show", package]))
    }

    /// Unpacks a package (`NAME` or `NAME=VERSION`) and returns the folder, which is removed with `self`.
    pub(crate) fn unpack(&self, package: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join("packages").join(package);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        command::run(self.get().current_dir(&folder).args(["download", package]))?;
        let entries = fs::read_dir(&folder).context("cannot list the download")?.flatten();
        let mut files = entries.map(|entry| entry.path());
        let file = files.find(|path| path.extension().is_some_and(|end| end == "deb"));
        let file = file.context("apt-get download left no package")?;
        let tree = folder.join("tree");
        command::run(Command::new("dpkg-deb").arg("--extract").args([&file, &tree]))?;
        Ok(tree)
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(&self.options);
        command
    }
}

/// Makes apt's directories and its sources list, and returns the options that select them.
fn prepare(scratch: &Path, architecture: &str, suites: &[Suite<'_>]) -> Result<Vec<String>> {
    for folder in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(scratch.join(folder)).context("cannot create apt's directories")?;
    }
    let line = |Suite { archive, name }: &Suite<'_>| {
        format!("deb [arch={architecture}] {MIRROR}/{archive} {name} main\n")
    };
    let list = scratch.join("sources.list");
    fs::write(&list, suites.iter().map(line).collect::<String>())
        .with_context(|| format!("cannot write {}", list.display()))?;
    let set = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
    let path = |below: &str| scratch.join(below).display().to_string();
    let options = [
        set("APT::Architecture", architecture),
        set("APT::Architectures", architecture),
        set("Dir::Etc::sourcelist", &path("sources.list")),
        set("Dir::Etc::sourceparts", "-"),
        set("Dir::State::Lists", &path("lists")),
        set("Dir::Cache", &path("")),
        set("Acquire::Languages", "none"),
        // Descriptions for software centres, which double the download.
        set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"),
        // apt's own user cannot write to the temporary directory.
        set("APT::Sandbox::User", "root"),
    ];
    Ok(options.concat())
}

/// Fails if apt or dpkg is missing.
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
    fn the_sources_are_those_of_the_architecture_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let suites = [
            Suite { archive: "debian", name: "trixie" },
            Suite { archive: "debian-security", name: "trixie-security" },
        ];
        let options = prepare(scratch.path(), "arm64", &suites).unwrap();
        assert!(options.contains(&"APT::Architectures=arm64".to_owned()), "{options:?}");
        assert_eq!(
            fs::read_to_string(scratch.path().join("sources.list")).unwrap(),
            "deb [arch=arm64] http://deb.debian.org/debian trixie main\n\
             deb [arch=arm64] http://deb.debian.org/debian-security trixie-security main\n"
        );
    }
}
