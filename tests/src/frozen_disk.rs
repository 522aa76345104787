//! A disk that can stand still: an ext4 file system in a file, frozen as `fsfreeze(8)` does. What writes to it then sleeps
//! and cannot be killed.

use std::{
    fs::File,
    ops::Deref,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use tempfile::TempDir;

use crate::{privilege, refusal::run_command};

/// Its size: the smallest of a loop device on which ext4 has a journal is a fifth of this.
const SIZE: u64 = 32 << 20;

/// For how long a slow disk takes nothing each time.
const STILL: Duration = Duration::from_millis(80);

/// The disk, mounted; thawed and unmounted when dropped.
#[derive(Debug)]
pub struct FrozenDisk {
    directory: TempDir,
    place: PathBuf,
}

impl FrozenDisk {
    /// Mounts an empty one that answers.
    pub fn prepare() -> Result<Self> {
        privilege::require_root()?;
        let directory = tempfile::tempdir()?;
        let (image, place) = (directory.path().join("image"), directory.path().join("mnt"));
        File::create(&image)?.set_len(SIZE)?;
        std::fs::create_dir(&place)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place))?;
        Ok(Self { directory, place })
    }

    /// From now on writes, new files and new directories wait.
    pub fn stand_still(&self) -> Result<()> {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.place))
    }

    /// Meanwhile the disk takes writes for a few milliseconds only, twelve times a second.
    pub fn slow_during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let slow = scope.spawn(|| -> Result<()> {
                while !is_over.load(Ordering::Relaxed) {
                    self.stand_still()?;
                    thread::sleep(STILL);
                    self.go_on()?;
                }
                Ok(())
            });
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            slow.join().map_err(|_| anyhow!("the disk's thread panicked"))??;
            done
        })
    }

    /// Everything goes on.
    pub fn go_on(&self) -> Result<()> {
        run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.place))
    }
}

impl Deref for FrozenDisk {
    type Target = std::path::Path;

    fn deref(&self) -> &Self::Target {
        &self.place
    }
}

impl Drop for FrozenDisk {
    fn drop(&mut self) {
        // It may go on already. If it cannot be unmounted, its directory stays behind.
        let _ = self.go_on();
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.place));
        let _ = std::fs::remove_file(self.directory.path().join("image"));
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = run_command(command)?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
