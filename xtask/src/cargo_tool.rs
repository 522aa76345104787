//! Programs that `cargo install` builds: found in `PATH`, or kept in the user's cache by version
//! so that every checkout shares one build.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    cache, cargo,
    command::{self, say},
    workspace::Workspace,
};

/// A program at the one version that is known to work.
pub struct CargoTool {
    /// Name of the crate and of the program.
    pub name: &'static str,
    /// Exact version.
    pub version: &'static str,
    /// What to expect of the build, said before it starts.
    pub takes: &'static str,
}

/// Links the eBPF object. 0.11 and later want the development files of a newer LLVM.
pub const BPF_LINKER: CargoTool =
    CargoTool { name: "bpf-linker", version: "0.10.4", takes: "about two minutes" };
/// Checks licences and sources of dependencies.
pub const CARGO_DENY: CargoTool =
    CargoTool { name: "cargo-deny", version: "0.20.2", takes: "a few minutes" };

impl CargoTool {
    /// Where the program is, after building it if it is nowhere.
    pub fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let Self { name, version, takes } = self;
        let root = self.cache_dir()?;
        say(&format!("installing {name} {version} into {} ({takes})", root.display()));
        let mut install = cargo::cargo(workspace);
        install
            // Its own temporary directory: ours may belong to somebody else, and would grow.
            .env_remove("CARGO_TARGET_DIR")
            .args(["install", name, "--version", version, "--locked", "--quiet", "--root"])
            .arg(&root);
        command::run(&mut install)?;
        match self.find()? {
            Some(found) => Ok(found),
            None => bail!("cargo installed {name} {version}, but not as {}", root.display()),
        }
    }

    /// Where the program is: in `PATH` if it is the right version, else in the cache.
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
            .is_ok_and(|said| said.split_whitespace().last() == Some(self.version))
    }

    fn cache_dir(&self) -> Result<PathBuf> {
        Ok(cache::directory(self.name)?.join(format!("{}-{}", self.name, self.version)))
    }
}
