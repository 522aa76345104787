//! A cgroup that limits memory, including BPF maps: the kernel charges a map to its creator.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::privilege;

/// A scratch cgroup with the memory controller, version 1 or 2; removed when dropped.
#[derive(Debug)]
pub struct MemoryLimit {
    path: PathBuf,
    /// File with the limit.
    limit: &'static str,
    /// File with the current usage.
    usage: &'static str,
    /// The limit's value for no limit.
    unlimited: &'static str,
}

impl MemoryLimit {
    /// Creates it without a limit.
    pub fn create(name: &str) -> Result<Self> {
        privilege::require_root()?;
        let name = format!("{name}-{}", std::process::id());
        let of_version_1 = |root: &Path| Self {
            path: root.join(&name),
            limit: "memory.limit_in_bytes",
            usage: "memory.usage_in_bytes",
            unlimited: "-1",
        };
        let of_version_2 = |root: &Path| Self {
            path: root.join(&name),
            limit: "memory.max",
            usage: "memory.current",
            unlimited: "max",
        };
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut roots = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = roots.find_map(|words| match words.as_slice() {
            [_, root, "cgroup", options, ..] if options.split(',').any(|it| it == "memory") => {
                Some(of_version_1(Path::new(root)))
            }
            [_, root, "cgroup2", ..] => {
                let enabled = fs::read_to_string(Path::new(root).join("cgroup.subtree_control"));
                let has_memory =
                    enabled.is_ok_and(|text| text.split_whitespace().any(|it| it == "memory"));
                has_memory.then(|| of_version_2(Path::new(root)))
            }
            _ => None,
        });
        let cgroup = found.context("no memory controller is mounted")?;
        fs::create_dir(&cgroup.path)
            .with_context(|| format!("cannot create {}", cgroup.path.display()))?;
        Ok(cgroup)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the limit, in bytes.
    pub fn set(&self, bytes: u64) -> Result<()> {
        self.write(&bytes.to_string())
    }

    /// Removes the limit.
    pub fn lift(&self) -> Result<()> {
        self.write(self.unlimited)
    }

    /// The current usage, in bytes.
    pub fn usage(&self) -> Result<u64> {
        let text = fs::read_to_string(self.path.join(self.usage))?;
        text.trim().parse().context("the memory usage is not a number")
    }

    fn write(&self, text: &str) -> Result<()> {
        fs::write(self.path.join(self.limit), text)
            .with_context(|| format!("cannot limit {} to {text}", self.path.display()))
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        for _ in 0..100 {
            // The cgroup stays busy for a moment after its last member has ended.
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
