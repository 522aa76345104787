//! The root file system of a virtual machine: busybox, the programs, and a script of the runs.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{command, setup::packages};
use anyhow::{Context as _, Result, bail};

use super::{
    cross::{self, Cross},
    programs::Programs,
};

const INIT: &str = include_str!("init.sh");

/// Folders that `init.sh` uses as mount points or writes to.
const FOLDERS: [&str; 10] =
    ["bin", "dev", "etc", "plan", "proc", "root", "sys", "t", "tmp", "usr/bin"];

/// What a machine does: the files that `init.sh` reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Shell commands that it runs first.
    pub settings: String,
    /// The programs to run, one a line: a time limit in seconds, a name, and arguments.
    pub programs: String,
}

/// The files of all machines of one architecture.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: tempfile::TempDir,
    /// The host's busybox, which packs the archive.
    busybox: PathBuf,
}

impl Tree {
    /// Copies the programs into a temporary folder.
    pub(crate) fn create(programs: &Programs, cross: Option<&Cross>) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary directory")?;
        let busybox = packages::static_busybox().context("no static busybox is in PATH")?;
        let guest_busybox = cross.map_or(&busybox, |cross| &cross.busybox);
        let strip = cross.map_or("strip", |_| cross::STRIP);
        let root = folder.path();
        for name in FOLDERS {
            fs::create_dir_all(root.join(name)).with_context(|| format!("cannot make {name}"))?;
        }
        copy(guest_busybox, &root.join("bin/busybox"), strip)?;
        symlink("busybox", root.join("bin/sh")).context("cannot link bin/sh")?;
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        write_program(&root.join("init"), INIT)?;
        for (name, program) in programs.tools.iter().chain(&programs.tests) {
            copy(program, &root.join("t").join(name), strip)?;
        }
        for (name, file) in &programs.files {
            fs::copy(file, root.join("t").join(name))
                .with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Ok(Self { folder, busybox })
    }

    /// Writes the script into the tree, and the tree into the cpio archive `archive`.
    pub(crate) fn pack(&self, script: &Script, archive: &Path) -> Result<()> {
        let folder = self.folder.path();
        fs::write(folder.join("plan/settings"), &script.settings)
            .and_then(|()| fs::write(folder.join("plan/programs"), &script.programs))
            .context("cannot write the machine's script")?;
        let file = fs::File::create(archive)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        // As in the kernel's documentation of initramfs, with busybox's find and cpio.
        let line = "\"$0\" find . | \"$0\" cpio -o -H newc";
        let output = Command::new(&self.busybox)
            .args(["sh", "-c", line])
            .arg(&self.busybox)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::piped())
            .output()
            .context("cannot start busybox")?;
        if !output.status.success() {
            bail!("busybox cpio failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// Copies a program and strips it, because it is unpacked into memory.
fn copy(from: &Path, to: &Path, strip: &str) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    // Without binutils the program stays larger, which is no error.
    command::succeeds(Command::new(strip).arg(to));
    Ok(())
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}
