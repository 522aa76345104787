//! A cgroup that limits memory, the maps' as well: the kernel charges a map to whoever made it.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::privilege;

/// A scratch cgroup of the memory controller, of either version; removed when dropped.
#[derive(Debug)]
pub struct MemoryLimit {
    path: PathBuf,
    /// Where the limit and the use are.
    limit: &'static str,
    usage: &'static str,
    unlimited: &'static str,
}

impl MemoryLimit {
    /// Makes it, without a limit.
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
                let offered = fs::read_to_string(Path::new(root).join("cgroup.subtree_control"));
                let offers =
                    offered.is_ok_and(|text| text.split_whitespace().any(|it| it == "memory"));
                offers.then(|| of_version_2(Path::new(root)))
            }
            _ => None,
        });
        let cgroup = found.context("no memory controller is mounted")?;
        fs::create_dir(&cgroup.path)
            .with_context(|| format!("cannot make {}", cgroup.path.display()))?;
        Ok(cgroup)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Limits it to so many bytes.
    pub fn set(&self, bytes: u64) -> Result<()> {
        self.write(&bytes.to_string())
    }

    /// Takes the limit away.
    pub fn lift(&self) -> Result<()> {
        self.write(self.unlimited)
    }

    /// What is used now.
    pub fn usage(&self) -> Result<u64> {
        let text = fs::read_to_string(self.path.join(self.usage))?;
        text.trim().parse().context("the use of memory is no number")
    }

    fn write(&self, text: &str) -> Result<()> {
        fs::write(self.path.join(self.limit), text)
            .with_context(|| format!("cannot limit {} to {text}", self.path.display()))
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        for _ in 0..100 {
            // Busy for a moment after its last member has ended.
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
