//! The root file system of a virtual machine: busybox, the programs, and a plan of what to run.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use xtask::{command, packages};

use super::{
    cross::{self, Cross},
    plan::Plan,
    programs::Programs,
};

const INIT: &str = include_str!("init.sh");

/// Folders that `init.sh` mounts something on, or puts something into.
const FOLDERS: [&str; 10] =
    ["bin", "dev", "etc", "plan", "proc", "root", "sys", "t", "tmp", "usr/bin"];

/// The files that all machines have.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: tempfile::TempDir,
    /// This machine's.
    busybox: PathBuf,
}

impl Tree {
    /// Lays it out.
    pub(crate) fn lay_out(programs: &Programs, cross: Option<&Cross>) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary directory")?;
        let busybox = packages::static_busybox().context("no static busybox is in PATH")?;
        let theirs = cross.map_or(&busybox, |cross| &cross.busybox);
        let strip = cross.map_or("strip", |_| cross::STRIP);
        let root = folder.path();
        for name in FOLDERS {
            fs::create_dir_all(root.join(name)).with_context(|| format!("cannot make {name}"))?;
        }
        copy(theirs, &root.join("bin/busybox"), strip)?;
        symlink("busybox", root.join("bin/sh")).context("cannot link bin/sh")?;
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        write_program(&root.join("init"), INIT)?;
        for (name, program) in programs.tools.iter().chain(&programs.tests) {
            copy(program, &root.join("t").join(name), strip)?;
        }
        Ok(Self { folder, busybox })
    }

    /// Packs it, with this plan in it, into `archive`.
    pub(crate) fn pack(&self, plan: &Plan, archive: &Path) -> Result<()> {
        let folder = self.folder.path();
        fs::write(folder.join("plan/settings"), plan.settings())
            .context("cannot write the plan")?;
        fs::write(folder.join("plan/programs"), plan.programs())
            .context("cannot write the plan")?;
        let file = fs::File::create(archive)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        // What the kernel's own documentation does, with busybox in place of find and cpio.
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

/// Copies a program without its symbols: it is unpacked into memory.
fn copy(from: &Path, to: &Path, strip: &str) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    // Where binutils are missing it is only larger.
    command::succeeds(Command::new(strip).arg(to));
    Ok(())
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}
