//! A scratch cgroup, removed when the test ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A version-2 cgroup that is removed when dropped.
#[derive(Debug)]
pub struct ScratchCgroup {
    path: PathBuf,
}

impl ScratchCgroup {
    /// Creates it below the root of the version-2 hierarchy.
    pub fn create(name: &str) -> Result<Self> {
        let path = mount_point()?.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Creates the cgroup of a service, where systemd would: `system.slice/NAME.service`. Without systemd, the slice is
    /// removed with its last service.
    pub fn of_service(name: &str) -> Result<Self> {
        let slice = mount_point()?.join("system.slice");
        let path = slice.join(format!("{name}-{}.service", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Creates the cgroup of a slice, in which units can be.
    pub fn of_slice(name: &str) -> Result<Self> {
        let path = mount_point()?.join(format!("{name}{}.slice", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its name.
    pub fn name(&self) -> Result<&str> {
        self.path.file_name().and_then(|name| name.to_str()).context("a cgroup without a name")
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into it.
    pub fn admit(&self, pid: u32) -> Result<()> {
        move_to(&self.path, pid)
    }

    /// Moves a process out of it, to its parent.
    pub fn dismiss(&self, pid: u32) -> Result<()> {
        move_to(self.path.parent().context("a cgroup without a parent")?, pid)
    }
}

fn move_to(cgroup: &Path, pid: u32) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string())
        .with_context(|| format!("cannot move {pid} to {}", cgroup.display()))
}

impl Drop for ScratchCgroup {
    fn drop(&mut self) {
        // Fails while the cgroup has members. In that case the test has already failed.
        let _ = fs::remove_dir(&self.path);
        if let Some(slice) = self.path.parent().filter(|parent| parent.ends_with("system.slice")) {
            // Fails while it has other services, or if systemd manages it.
            let _ = fs::remove_dir(slice);
        }
    }
}

fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = mount.into_iter().find(|words| words.get(2) == Some(&"cgroup2"));
    let words = found.context("no cgroup version 2 is mounted")?;
    Ok(PathBuf::from(words[1]))
}
