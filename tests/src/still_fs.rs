//! A file system that stops answering, and an unprivileged program on it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{UnmountFlags, unmount},
};
use tempfile::TempDir;

use crate::{
    deadline::{OwnedChild, wait_until},
    privilege,
    workload::sibling_binary,
};

/// Who mounts the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// root, for everyone.
    Root,
    /// An unprivileged user, in a user and mount namespace of its own.
    User,
}

/// The files of one such file system. Dropping this ends the program and the server.
#[derive(Debug)]
pub struct StillFs {
    child: Option<OwnedChild>,
    owner: Owner,
    directory: TempDir,
}

impl StillFs {
    /// Prepares a directory with all that the program `stillfs` needs.
    pub fn prepare(owner: Owner) -> Result<Self> {
        privilege::require_root()?;
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        fs::create_dir(path.join("mnt"))?;
        fs::copy(sibling_binary("stillfs")?, path.join("stillfs"))?;
        mknodat(CWD, path.join("fuse"), FileType::CharacterDevice, Mode::RUSR, makedev(10, 229))?;
        for (name, mode) in [("", 0o777), ("mnt", 0o777), ("stillfs", 0o755), ("fuse", 0o666)] {
            fs::set_permissions(path.join(name), Permissions::from_mode(mode))?;
        }
        Ok(Self { child: None, owner, directory })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The command line of the program in this mode.
    pub fn command(&self, mode: &str) -> Vec<String> {
        let prefix = match self.owner {
            Owner::Root => "unshare --mount --propagation private",
            Owner::User => {
                "setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urm --propagation private"
            }
        };
        let program = self.path().join("stillfs").display().to_string();
        let directory = self.path().display().to_string();
        let own = [program, mode.to_owned(), directory];
        prefix.split(' ').map(str::to_owned).chain(own).collect()
    }

    /// Starts the program and waits until it is ready. Returns its pid.
    pub fn start(&mut self, mode: &str) -> Result<u32> {
        let words = self.command(mode);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = OwnedChild::spawn(&mut command, "stillfs")?;
        let pid = child.pid();
        self.child = Some(child);
        self.wait_ready()?;
        Ok(pid)
    }

    /// Waits until the program is ready.
    pub fn wait_ready(&self) -> Result<()> {
        let ready = self.path().join("ready");
        wait_until("the file system", || Ok(ready.exists().then_some(())))
    }

    /// From now on the file system answers nothing.
    pub fn stand_still(&self) -> Result<()> {
        Ok(fs::write(self.path().join("still"), "")?)
    }
}

impl Drop for StillFs {
    fn drop(&mut self) {
        // The program ends by itself, also if another process started it. Then its namespaces end.
        let _ = fs::write(self.path().join("end"), "");
        self.child = None;
        let _ = unmount(self.path().join("mnt"), UnmountFlags::DETACH);
    }
}
