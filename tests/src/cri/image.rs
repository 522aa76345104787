//! Images for containerd, made without a registry: one layer of files of this machine (image-spec of the Open Container
//! Initiative, `image-layout.md`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{deadline::describe, refusal::run_command};

/// The directories of an image on which a runtime mounts file systems.
const DIRECTORIES: [&str; 5] = ["bin", "tmp", "dev", "proc", "sys"];

/// Makes an archive of an image with this name in `scratch`. `fill` puts files into its root directory.
pub(super) fn archive(
    scratch: &Path,
    name: &str,
    command: &[&str],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = tempfile::tempdir_in(scratch)?;
    let (root, layout) = (folder.path().join("root"), folder.path().join("layout"));
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
    }
    fill(&root)?;
    let layer = folder.path().join("layer.tar");
    tar(&root, &layer)?;
    let blobs = Blobs(layout.join("blobs/sha256"));
    fs::create_dir_all(&blobs.0)?;
    let layer = blobs.put(&fs::read(&layer)?, "application/vnd.oci.image.layer.v1.tar")?;
    let config = json!({"architecture": architecture(), "os": "linux", "config": {"Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
    let config =
        blobs.put(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config,
        "layers": [layer]});
    let mut manifest = blobs.put(manifest.to_string().as_bytes(), manifest_type)?;
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let archive = scratch.join(format!("{}.tar", name.replace(['/', ':'], "-")));
    tar(&layout, &archive)?;
    Ok(archive)
}

/// As Go names it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// A directory of files that are named by their digests.
struct Blobs(PathBuf);

impl Blobs {
    /// Writes a file and returns its descriptor.
    fn put(&self, content: &[u8], media_type: &str) -> Result<Value> {
        let digest = Sha256::digest(content);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(self.0.join(&digest), content)?;
        let digest = format!("sha256:{digest}");
        Ok(json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
    }
}

fn tar(directory: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    let output = run_command(tar.arg("-C").arg(directory).arg("-cf").arg(archive).arg("."))?;
    ensure!(output.status.success(), "tar: {}, {:?}", describe(output.status), output.stderr);
    Ok(())
}

/// Puts a static busybox and its applets into a root directory.
pub(super) fn busybox(root: &Path) -> Result<()> {
    let busybox =
        ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.context("no busybox is installed (busybox-static)")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    let output = run_command(Command::new(busybox).arg("--list"))?;
    for applet in String::from_utf8(output.stdout)?.lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}

/// Puts tracer into `/usr/bin/tracer` of a root directory, as `deploy/image/Dockerfile` does, with the shared libraries that
/// it needs. A static one needs none.
pub(super) fn tracer(root: &Path, program: &Path) -> Result<()> {
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::copy(program, root.join("usr/bin/tracer"))?;
    let output = run_command(Command::new("ldd").arg(program))?;
    let listed = String::from_utf8(output.stdout)?;
    // `name => /path (address)`, or `/path (address)`.
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for library in paths.map(Path::new) {
        let inside = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("a library without a folder")?)?;
        fs::copy(library, &inside)?;
    }
    Ok(())
}
