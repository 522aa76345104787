//! The image that the tests run: only a static busybox and its applets, so that no network is needed to make it.

use std::{fs, net::SocketAddr, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{command, setup::packages};

/// The short name, for tests that need no registry.
const SHORT_NAME: &str = "bb";
/// Directories that containers expect; the runtime mounts file systems on the last three.
const DIRECTORIES: [&str; 5] = ["bin", "tmp", "dev", "proc", "sys"];

/// The image in the daemon and in the registry. Dropping this removes the image from the daemon.
pub(crate) struct TestImage {
    name: String,
}

impl TestImage {
    /// Makes the image from files in the directory `scratch`, and pushes it.
    pub(crate) fn publish(registry: SocketAddr, scratch: &Path) -> Result<Self> {
        let archive = archive_root(scratch)?;
        let name = format!("{registry}/{SHORT_NAME}:1");
        let mut import = docker(&["import", "--change", r#"CMD ["/bin/sh"]"#]);
        command::run(import.arg(archive).arg(&name))?;
        let image = Self { name };
        command::run(&mut docker(&["tag", &image.name, SHORT_NAME]))?;
        command::run(&mut docker(&["push", "--quiet", &image.name]))?;
        Ok(image)
    }

    /// The name in the registry.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestImage {
    fn drop(&mut self) {
        // Tests pull and remove images, so a name may be absent.
        for name in [&self.name, SHORT_NAME] {
            command::succeeds(&mut docker(&["image", "rm", "--force", name]));
        }
    }
}

/// A tar archive of the image's root directory.
fn archive_root(scratch: &Path) -> Result<std::path::PathBuf> {
    let busybox =
        packages::static_busybox().context("no static busybox is installed (busybox-static)")?;
    let root = scratch.join("image");
    for dir in DIRECTORIES {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let bin = root.join("bin");
    fs::copy(&busybox, bin.join("busybox"))
        .with_context(|| format!("cannot copy {}", busybox.display()))?;
    for applet in command::capture(Command::new(&busybox).arg("--list"))?.lines() {
        let link = bin.join(applet);
        if !link.exists() {
            symlink("busybox", &link).with_context(|| format!("cannot link {applet}"))?;
        }
    }
    let archive = scratch.join("image.tar");
    let mut tar = Command::new("tar");
    command::run(tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."))?;
    Ok(archive)
}

fn docker(args: &[&str]) -> Command {
    let mut docker = Command::new("docker");
    docker.args(args);
    docker
}
