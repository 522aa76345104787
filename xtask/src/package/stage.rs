//! The files of a package, in a folder that looks like the installed system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use xtask::{build::dist, command, workspace::Workspace};

/// Documents at the top of the checkout that belong to each copy of tracer.
const DOCUMENTS: [&str; 4] = ["CHANGELOG.md", "LICENSE-GPL-2.0", "LICENSE-MIT", "README.md"];

/// Shells and the places of their completions. The place for zsh is not the same in Debian and Fedora, so each list of
/// files in tracer/Cargo.toml names its own.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/tracer"),
    ("fish", "usr/share/fish/vendor_completions.d/tracer.fish"),
    ("zsh", "zsh/_tracer"),
];

/// The recorder's files, with their places: the unit of systemd, the configuration, and the texts that `journalctl -x`
/// shows for findings.
const RECORDER: [(&str, &str); 3] = [
    ("tracer/systemd/tracer-daemon.service", "usr/lib/systemd/system/tracer-daemon.service"),
    ("tracer/systemd/tracer.toml", "etc/tracer.toml"),
    ("tracer/systemd/tracer.catalog", "usr/lib/systemd/catalog/tracer.catalog"),
];

/// The rules for Prometheus and the dashboard for Grafana, with their places.
const METRICS: [(&str, &str); 2] = [
    ("deploy/prometheus/tracer.rules.yml", "usr/share/doc/tracer/prometheus.rules.yml"),
    ("deploy/grafana/tracer.json", "usr/share/doc/tracer/grafana.json"),
];

/// Fills the folder and returns the paths of the files in it that are the same in each package, without the folder.
pub(super) fn stage(workspace: &Workspace, tool: &Path) -> Result<Vec<PathBuf>> {
    let folder = dist::products(workspace).join("package");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let put = |path: &str, content: &[u8]| -> Result<()> {
        let file = folder.join(path);
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&file, content))
            .with_context(|| format!("cannot write {}", file.display()))
    };
    let read =
        |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    for program in dist::PROGRAMS {
        put(&format!("usr/bin/{program}"), &read(&tool.with_file_name(program))?)?;
    }
    for document in DOCUMENTS {
        let content = read(&workspace.root().join(document))?;
        put(&format!("usr/share/doc/tracer/{document}"), &content)?;
    }
    for (source, path) in RECORDER.into_iter().chain(METRICS) {
        put(path, &read(&workspace.root().join(source))?)?;
    }
    for (shell, path) in COMPLETIONS {
        put(path, printed(tool, &["completions", shell])?.as_bytes())?;
    }
    let page = printed(tool, &["man"])?;
    for action in actions(&page) {
        let page = printed(tool, &["man", action])?;
        put(&format!("usr/share/man/man1/tracer-{action}.1"), page.as_bytes())?;
    }
    put("usr/share/man/man1/tracer.1", page.as_bytes())?;
    let files = super::list(&folder, &["zsh"])?;
    Ok(files.into_iter().filter(|path| folder.join(path).is_file()).collect())
}

fn printed(tool: &Path, arguments: &[&str]) -> Result<String> {
    command::capture(Command::new(tool).args(arguments).env_clear())
}

/// The actions whose pages the page of tracer names: `tracer\-report(1)`.
fn actions(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter_map(|line| line.strip_prefix("tracer\\-")?.strip_suffix("(1)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_that_the_first_one_names_is_made() {
        let page =
            ".SH SUBCOMMANDS\n.TP\ntracer\\-doctor(1)\nCheck\n.TP\ntracer\\-report(1)\ntracer\n";
        assert_eq!(actions(page).collect::<Vec<_>>(), ["doctor", "report"]);
    }
}
