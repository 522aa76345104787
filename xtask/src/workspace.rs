//! Where things are: the checkout and the target directory.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::build::Profile;

/// The checkout this task runs in, and the directory its products go to.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout from what cargo says about this package, and honours
    /// `CARGO_TARGET_DIR`.
    pub fn locate() -> Result<Self> {
        // The variable is cargo's at run time; the constant serves a binary started by hand.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .parent()
            .with_context(|| format!("{} is not inside a workspace", package.display()))?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(&dir)
                .with_context(|| format!("CARGO_TARGET_DIR={} is no path", dir.display()))?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The top of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// cargo's target directory.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// cargo's target directory for the BPF target. It is apart from the other one because a
    /// different compiler fills it: sharing would rebuild everything at each change of compiler.
    pub fn bpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// Where bpf-linker finds the LLVM of the BPF compiler.
    pub fn llvm_dir(&self) -> PathBuf {
        self.target.join("xtask/llvm")
    }

    /// The eBPF object that the tool embeds.
    pub fn ebpf_object(&self) -> PathBuf {
        self.target.join("ebpf/tracer.o")
    }

    /// The program that does nothing, which the benchmark compares with.
    pub fn floor_object(&self) -> PathBuf {
        self.target.join("ebpf/floor.o")
    }

    /// The tool itself.
    pub fn tool(&self, profile: Profile) -> PathBuf {
        self.target.join(profile.directory()).join("tracer")
    }

    /// A file in which a task remembers what it found.
    pub fn stamp(&self, name: &str) -> PathBuf {
        self.target.join("xtask").join(name)
    }

    /// Where daemons that are started for tests write their logs.
    pub fn test_logs(&self) -> PathBuf {
        self.target.join("test-logs")
    }
}
