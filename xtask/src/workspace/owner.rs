//! The owner of the checkout. What root builds in another user's clone becomes that user's.

use std::{
    env,
    io::{self, Read},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, openat, statat,
    },
    io::{FdFlags, fcntl_setfd},
    process::geteuid,
};

use super::Workspace;
use crate::command::say;

/// Open in this process and in all that it starts: the guard's standard input ends with the last of them.
static BUILDS: OnceLock<ChildStdin> = OnceLock::new();

/// A user and a group.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: Uid,
    group: Gid,
}

impl Workspace {
    /// Starts a process that gives everything back when this process and all that it has started have ended: a build fails,
    /// or is interrupted or killed. Does nothing unless this process is root in another user's checkout. `task` makes this
    /// program call [`Self::hand_back_after`] with its standard input.
    ///
    /// # Errors
    /// An error if no process can be started.
    pub fn guard(&self, task: &str) -> Result<()> {
        if self.other_owner().is_none() {
            return Ok(());
        }
        // Ctrl-C is for the build.
        let mut guard = Command::new(env::current_exe()?);
        guard.arg(task).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut guard = guard.spawn().context("cannot start the guard of the target directory")?;
        if let Some(stdin) = guard.stdin.take() {
            fcntl_setfd(&stdin, FdFlags::empty())?;
            let _ = BUILDS.set(stdin);
        }
        Ok(())
    }

    /// Nothing is built after the next `execve(2)` of this process: the guard does not wait for that program.
    pub fn ends_builds() {
        if let Some(stdin) = BUILDS.get() {
            // It is open, so this does not fail.
            let _ = fcntl_setfd(stdin, FdFlags::CLOEXEC);
        }
    }

    /// Waits until `builds` ends, and then does what [`Self::hand_back`] does.
    ///
    /// # Errors
    /// As [`Self::hand_back`].
    pub fn hand_back_after(&self, mut builds: impl Read) -> Result<()> {
        io::copy(&mut builds, &mut io::sink())?;
        self.hand_back()
    }

    /// Gives what root has built in the target directory to the owner of the checkout, if that is another user, and says
    /// so.
    pub fn hand_back(&self) -> Result<()> {
        let Some(owner) = self.other_owner().filter(|_| self.target().is_dir()) else {
            return Ok(());
        };
        let top = open(CWD, self.target(), OFlags::DIRECTORY)?;
        let count = give_all(&top, owner, fstat(&top)?.st_dev)?;
        if count > 0 {
            let (target, user) = (self.target().display(), owner.user.as_raw());
            say(&format!("{count} files that root built in {target} now belong to uid {user}"));
        }
        Ok(())
    }

    /// The owner of the checkout, if this process is root and the owner is another user.
    fn other_owner(&self) -> Option<Owner> {
        let found = statat(CWD, self.root(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (geteuid().is_root() && found.st_uid != 0).then(|| Owner {
            user: Uid::from_raw(found.st_uid),
            group: Gid::from_raw(found.st_gid),
        })
    }
}

/// Opens a file without following a link and without any effect on it.
fn open(at: impl rustix::fd::AsFd, name: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags;
    openat(at, name, flags, Mode::empty()).context("a file of the target directory")
}

/// The user may change the directory meanwhile, so each step holds on to what it looked at.
fn give_all(directory: &OwnedFd, owner: Owner, device: u64) -> Result<u64> {
    let mut count = give(directory, owner, device)?;
    let listed =
        openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    for entry in Dir::new(listed.context("a directory of the target directory")?)? {
        let entry = entry?;
        if [c".", c".."].contains(&entry.file_name()) {
            continue;
        }
        // It may have been removed.
        let Ok(file) = open(directory, entry.file_name(), OFlags::empty()) else { continue };
        let is_directory = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::Directory;
        count += if is_directory {
            give_all(&file, owner, device)?
        } else {
            give(&file, owner, device)?
        };
    }
    Ok(count)
}

/// Gives one file of root's to the owner, if it is certainly one of the target directory: a file with several names may
/// have one elsewhere. The directory of such a file is the owner's, who can remove and build it again.
fn give(file: &OwnedFd, owner: Owner, device: u64) -> Result<u64> {
    let Stat { st_uid, st_dev, st_nlink, st_mode, .. } = fstat(file)?;
    let is_directory = FileType::from_raw_mode(st_mode) == FileType::Directory;
    if st_uid != 0 || st_dev != device || st_nlink > 1 && !is_directory {
        return Ok(0);
    }
    chownat(file, "", Some(owner.user), Some(owner.group), AtFlags::EMPTY_PATH)
        .context("cannot give a file of the target directory to the owner of the checkout")?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, chown, symlink},
    };

    use super::*;

    /// The usual uid of `nobody`.
    const NOBODY: u32 = 65_534;

    #[test]
    fn what_an_interrupted_build_leaves_behind_becomes_the_owners_too() -> Result<()> {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return Ok(());
        }
        let root = tempfile::tempdir()?;
        let target = root.path().join("target");
        fs::create_dir(&target)?;
        chown(root.path(), Some(NOBODY), Some(NOBODY))?;
        let workspace = Workspace { root: root.path().into(), target: target.clone() };
        let (builds, writer) = io::pipe()?;
        // The build ends after the process that has started it.
        let line = "sleep 0.3; echo built > target/late";
        // The command has this process's copy of the writer, and is dropped at once.
        let mut build =
            Command::new("sh").args(["-c", line]).current_dir(root.path()).stdin(writer).spawn()?;
        workspace.hand_back_after(builds)?;
        assert_eq!(fs::metadata(target.join("late"))?.uid(), NOBODY);
        assert!(build.wait()?.success());
        Ok(())
    }

    #[test]
    fn what_root_built_becomes_the_owners_and_nothing_else_does() -> Result<()> {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return Ok(());
        }
        let directory = tempfile::tempdir()?;
        let (root, elsewhere) = (directory.path().join("clone"), directory.path().join("secret"));
        let target = root.join("target");
        fs::create_dir_all(target.join("debug"))?;
        chown(&root, Some(NOBODY), Some(NOBODY))?;
        fs::write(&elsewhere, "root's")?;
        fs::write(target.join("debug/tool"), "built")?;
        symlink(&elsewhere, target.join("link"))?;
        fs::hard_link(&elsewhere, target.join("debug/second-name"))?;
        let workspace = Workspace { root, target: target.clone() };
        workspace.hand_back()?;
        let owner = |path: &std::path::Path| fs::metadata(path).map(|found| found.uid());
        assert_eq!(owner(&target)?, NOBODY);
        assert_eq!(owner(&target.join("debug"))?, NOBODY);
        assert_eq!(owner(&target.join("debug/tool"))?, NOBODY);
        assert_eq!(owner(&elsewhere)?, 0);
        assert_eq!(fs::symlink_metadata(target.join("link"))?.uid(), NOBODY);
        Ok(())
    }
}
