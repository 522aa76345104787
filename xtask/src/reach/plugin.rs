//! The plugin `deploy/kubectl/kubectl-tracer`: its command line, and what it says where nothing answers. What it asks of a
//! cluster is tried with `--apiserver`.

use std::{
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{command, workspace::Workspace};

use super::tools::Tools;
use crate::steps::Checked;

/// The plugin.
pub(super) const PLUGIN: &str = "deploy/kubectl/kubectl-tracer";
/// A wrong command line, and something that is missing.
const CODES: [i32; 2] = [2, 3];

/// Command lines that ask nothing, and what the plugin must say.
const WRONG: [(&[&str], &str); 12] = [
    (&[], "Usage"),
    (&["look", "web-0"], "neither why nor history"),
    (&["why"], "no pod is named"),
    (&["why", ""], "name of the pod is empty"),
    (&["why", "a", "b"], "a second pod"),
    (&["why", "a/b/c"], "no NAMESPACE/POD"),
    (&["why", "a/"], "no name of a pod"),
    (&["why", "--lost", "a"], "come after --"),
    (&["why", "--namespace"], "needs a value"),
    (&["why", "-n", "shop", "other/a"], "two namespaces"),
    (&["why", "$(touch reached)"], "have only a-z"),
    (&["history", "--node", "a,status.phase=x", "web-0"], "have only a-z"),
];

pub(super) fn check(workspace: &Workspace, tools: &Tools) -> Result<Checked> {
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let programs = tempfile::tempdir().context("cannot make a temporary directory")?;
    let cat = command::find("cat").context("there is no cat")?;
    symlink(cat, programs.path().join("cat"))?;
    let nothing = programs.path().display().to_string();
    let run = |arguments: &[&str], path: &str| -> Result<Output> {
        let mut plugin = Command::new("/bin/sh");
        plugin.arg(workspace.root().join(PLUGIN)).args(arguments).env_clear().env("PATH", path);
        plugin.env("HOME", scratch.path()).current_dir(scratch.path());
        plugin.stdin(Stdio::null()).output().context("cannot start sh")
    };
    let said = |output: &Output, code: i32, part: &str| {
        let text = String::from_utf8_lossy(&output.stderr);
        let is_so = output.status.code() == Some(code) && text.contains(part);
        ensure!(is_so, "not `{part}` with {code}, but {}: {text}", output.status);
        Ok(())
    };
    for (arguments, part) in WRONG {
        said(&run(arguments, &nothing)?, CODES[0], part)
            .with_context(|| format!("{arguments:?}"))?;
    }
    let help = run(&["--help"], &nothing)?;
    ensure!(help.status.success() && help.stderr.is_empty(), "{help:?}");
    said(&run(&["why", "web-0"], &nothing)?, CODES[1], "kubectl is not in PATH")?;
    let folder = tools.kubectl.parent().context("kubectl has no folder")?.display().to_string();
    let nobody = ["why", "--kubeconfig", "/dev/null", "shop/web-0"];
    said(&run(&nobody, &format!("{folder}:{nothing}"))?, CODES[1], "the API did not answer")?;
    let mut left = scratch.path().read_dir()?.flatten().map(|entry| entry.file_name());
    ensure!(left.all(|name| name == ".kube"), "an argument was executed");
    Ok(Checked::Passed)
}
