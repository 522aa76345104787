//! Paths in the checkout and in the target directory, and small files there that remember results.

pub mod cache;
mod owner;

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// How the tool is built. The eBPF programs are always optimised, because the verifier has limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Optimised.
    Release,
    /// For a debugger.
    Debug,
}

impl Profile {
    /// Its directory below cargo's target directory.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }
}

/// The checkout that this task runs in, and its target directory.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout by the path of this package. `CARGO_TARGET_DIR` overrides the target directory.
    pub fn locate() -> Result<Self> {
        // cargo sets the variable at run time; the constant is for a binary started by hand.
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

    /// cargo's target directory for the BPF target. It is separate because another compiler fills it:
    /// in a shared directory each change of compiler would rebuild everything.
    pub fn bpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// The directory in which bpf-linker finds the LLVM of the BPF compiler.
    pub(crate) fn llvm_dir(&self) -> PathBuf {
        self.target.join("xtask/llvm")
    }

    /// The eBPF object that the tool embeds.
    pub fn ebpf_object(&self) -> PathBuf {
        self.target.join("ebpf/tracer.o")
    }

    /// The empty program, with which the benchmark compares.
    pub fn floor_object(&self) -> PathBuf {
        self.target.join("ebpf/floor.o")
    }

    /// The tool itself.
    pub fn tool(&self, profile: Profile) -> PathBuf {
        self.target.join(profile.directory()).join("tracer")
    }

    /// The stamp of this name.
    pub(crate) fn stamp(&self, name: &str) -> Stamp {
        Stamp(self.target.join("xtask").join(name))
    }

    /// The directory for logs of daemons that are started for tests.
    pub fn test_logs(&self) -> PathBuf {
        self.target.join("test-logs")
    }
}

/// A file under the target directory in which a task remembers its result.
///
/// A stamp that cannot be read counts as absent: the task is done again.
pub(crate) struct Stamp(PathBuf);

impl Stamp {
    /// The content, if it can be read.
    pub(crate) fn read(&self) -> Option<String> {
        fs::read_to_string(&self.0).ok()
    }

    /// Replaces the content.
    pub(crate) fn write(&self, content: &str) -> Result<()> {
        if let Some(dir) = self.0.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(&self.0, content).with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// Removes the file, so that an interrupted task is done again.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}

/// A text that differs after a file was written: its length and its modification time.
pub(crate) fn file_identity(file: &Path) -> Option<String> {
    let meta = file.metadata().ok()?;
    Some(format!("{} {}.{:09}", meta.len(), meta.mtime(), meta.mtime_nsec()))
}
