//! Programs that `cargo install` builds. They are found in `PATH` or stored in the user's cache by version, so that
//! all checkouts share one build.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    cargo,
    command::{self, say},
    workspace::{Workspace, cache},
};

/// A program in the version that is known to work.
pub struct CargoTool {
    /// Name of the crate and of the program.
    name: &'static str,
    /// Exact version.
    version: &'static str,
    /// How long the build takes, for a message.
    takes: &'static str,
    /// Options of `cargo install` that leave out what is not needed.
    options: &'static [&'static str],
}

/// Links the eBPF object. 0.11 and later need the development files of a newer LLVM.
pub(crate) const BPF_LINKER: CargoTool =
    CargoTool { name: "bpf-linker", version: "0.10.4", takes: "about a minute", options: &[] };
/// Checks licences and sources of dependencies.
pub const CARGO_DENY: CargoTool =
    CargoTool { name: "cargo-deny", version: "0.20.2", takes: "a few minutes", options: &[] };
/// Makes Debian's packages.
pub const CARGO_DEB: CargoTool =
    CargoTool { name: "cargo-deb", version: "3.8.0", takes: "about a minute", options: &[] };
/// Makes packages for rpm.
pub const CARGO_GENERATE_RPM: CargoTool = CargoTool {
    name: "cargo-generate-rpm",
    version: "0.21.1",
    takes: "a few minutes",
    options: &[],
};
/// Makes the pages of the book, without the server and the watcher that it also has.
pub const MDBOOK: CargoTool = CargoTool {
    name: "mdbook",
    version: "0.5.4",
    takes: "about two minutes",
    options: &["--no-default-features", "--features", "search"],
};

/// The tools run for seconds, and their build takes minutes: they are not optimised. The profile is that of a release
/// all the same, so that no check of a debug build stops them.
const QUICK_BUILD: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
];

impl CargoTool {
    /// The path of the program, which is built if it is missing.
    pub fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let Self { name, version, takes, options } = self;
        let root = self.cache_dir()?;
        say(&format!("installing {name} {version} into {} ({takes})", root.display()));
        let mut install = cargo::cargo(workspace);
        install
            // cargo uses a temporary directory instead: the target directory would grow.
            .env_remove("CARGO_TARGET_DIR")
            .envs(QUICK_BUILD)
            .args(["install", name, "--version", version, "--locked", "--quiet", "--root"])
            .arg(&root)
            .args(*options);
        command::run(&mut install)?;
        match self.find()? {
            Some(found) => Ok(found),
            None => bail!("cargo installed {name} {version}, but not as {}", root.display()),
        }
    }

    /// The path of the program: in `PATH` if the version is right, else in the cache.
    ///
    /// # Errors
    ///
    /// The user has no cache directory.
    pub fn find(&self) -> Result<Option<PathBuf>> {
        if let Some(found) = command::find(self.name)
            && self.is_version_of(&found)
        {
            return Ok(Some(found));
        }
        let cached = self.cache_dir()?.join("bin").join(self.name);
        Ok(command::is_executable(&cached).then_some(cached))
    }

    fn is_version_of(&self, program: &Path) -> bool {
        command::capture(Command::new(program).arg("--version"))
            .is_ok_and(|said| is_version(&said, self.version))
    }

    fn cache_dir(&self) -> Result<PathBuf> {
        Ok(cache::directory(self.name)?.join(format!("{}-{}", self.name, self.version)))
    }
}

/// Whether the last word that a program said is this version, with or without a `v` before it.
fn is_version(said: &str, version: &str) -> bool {
    said.split_whitespace().last().is_some_and(|word| word.trim_start_matches('v') == version)
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn a_version_is_known_with_and_without_its_letter() {
        assert!(is_version("cargo-deny 0.20.2\n", "0.20.2"));
        assert!(is_version("mdbook v0.5.4\n", "0.5.4"));
        assert!(!is_version("mdbook v0.5.3\n", "0.5.4") && !is_version("", "0.5.4"));
    }
}
