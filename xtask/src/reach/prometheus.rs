//! Prometheus' own check of the rules in `deploy/prometheus`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use xtask::{
    command::{self, say},
    setup::packages,
    workspace::Workspace,
};

use crate::steps::Checked;

/// The folder with rules, and tests of rules.
const FOLDER: &str = "deploy/prometheus";

pub(super) fn check(workspace: &Workspace) -> Result<Checked> {
    let files = files(workspace)?;
    if files.is_empty() {
        say(&format!("no rules were checked: {FOLDER} has none"));
        return Ok(Checked::Skipped);
    }
    if command::find("promtool").is_none() {
        packages::install(&["prometheus"], "check rules with promtool")?;
    }
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut promtool = super::command("promtool", workspace);
        promtool.args([if is_test(&text) { "test" } else { "check" }, "rules"]);
        command::run(promtool.arg(file))?;
    }
    Ok(Checked::Passed)
}

fn files(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root().join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {FOLDER}"))?;
    let is_yaml =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_yaml).collect();
    files.sort();
    Ok(files)
}

/// A file with tests names the files with rules at its top.
fn is_test(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("rule_files:"))
}
