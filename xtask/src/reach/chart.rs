//! The chart `deploy/helm/tracer`, as helm and the schemas of Kubernetes see it.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use xtask::{command, workspace::Workspace};

use super::tools::Tools;
use crate::steps::Checked;

/// The chart.
pub(super) const CHART: &str = "deploy/helm/tracer";
/// Values that add everything that the chart can have.
pub(super) const ALL: &str = "deploy/helm/tracer/ci/all-values.yaml";
/// The objects with the default values, for users without helm and for the tests.
const PAGE: &str = "deploy/kubernetes/tracer.yaml";
/// The unit with the same capabilities.
const UNIT: &str = "tracer/systemd/tracer-daemon.service";
/// The release and namespace of [`PAGE`].
const RELEASE: [&str; 4] = ["template", "tracer", "--namespace", "tracer"];

/// Values that the schema must refuse, and what the message must name.
const WRONG: [(&str, &str); 8] = [
    ("metrics.prot=9753", "'prot' not allowed"),
    ("metrics.port=0", "/metrics/port"),
    ("record.what=units", "/record/patterns"),
    ("record.what=pods", "/record/what"),
    ("history.maxSize=much", "/history/maxSize"),
    ("otlp.endpoint=collector:4318", "/otlp/endpoint"),
    ("runtimeDirectories={run/containerd}", "/runtimeDirectories/0"),
    ("securityContext.privileged=true", "'privileged' not allowed"),
];

pub(super) fn lint(workspace: &Workspace, tools: &Tools) -> Result<Checked> {
    for values in [&[][..], &["--values", ALL]] {
        command::run(helm(workspace, tools).args(["lint", "--strict", CHART]).args(values))?;
    }
    Ok(Checked::Passed)
}

/// Checks the objects of the chart against the schemas. There is none for the PodMonitor, which is no part of Kubernetes.
pub(super) fn validate(workspace: &Workspace, tools: &Tools) -> Result<Checked> {
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = scratch.path().join("objects.yaml");
    for values in [&[][..], &["--values", ALL]] {
        fs::write(&file, template(workspace, tools, values)?)?;
        let mut validate = Command::new(&tools.validator);
        command::run(validate.arg("--strict").arg(&file))?;
    }
    Ok(Checked::Passed)
}

/// Values that make no sense must not come as far as the cluster.
pub(super) fn refuse(workspace: &Workspace, tools: &Tools) -> Result<Checked> {
    for (value, named) in WRONG {
        let refused = template(workspace, tools, &["--set", value]);
        let Err(error) = refused else { anyhow::bail!("the chart accepts {value}") };
        let error = format!("{error:#}");
        ensure!(error.contains(named), "of {value}, helm says {error}");
    }
    Ok(Checked::Passed)
}

/// The manifest in the checkout must be what helm makes, and the chart's capabilities those of the unit.
pub(super) fn compare(workspace: &Workspace, tools: &Tools) -> Result<Checked> {
    let (made, path) = (page(workspace, tools)?, workspace.root().join(PAGE));
    let kept = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    ensure!(made == kept, "{PAGE} is not what the chart makes: run `cargo xtask reach --page`");
    let unit = fs::read_to_string(workspace.root().join(UNIT)).context(UNIT)?;
    let (of_unit, of_chart) = (of_unit(&unit), of_manifest(&made));
    ensure!(!of_unit.is_empty(), "{UNIT} has no CapabilityBoundingSet");
    ensure!(of_unit == of_chart, "{UNIT} has {of_unit:?}, the chart {of_chart:?}");
    Ok(Checked::Passed)
}

/// Writes the manifest in the checkout.
pub(super) fn write_page(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let path = workspace.root().join(PAGE);
    fs::write(&path, page(workspace, tools)?).with_context(|| format!("cannot write {PAGE}"))
}

fn page(workspace: &Workspace, tools: &Tools) -> Result<String> {
    let objects = template(workspace, tools, &[])?;
    let head = "# The chart deploy/helm/tracer with its default values: `cargo xtask reach --page` makes it.\n\
                # Set the image, then: kubectl create namespace tracer && kubectl apply -f tracer.yaml\n";
    Ok(format!("{head}{objects}"))
}

fn template(workspace: &Workspace, tools: &Tools, values: &[&str]) -> Result<String> {
    command::capture(helm(workspace, tools).args(RELEASE).arg(CHART).args(values))
}

/// helm with folders of its own, so that it reads no user's configuration.
pub(super) fn helm(workspace: &Workspace, tools: &Tools) -> Command {
    let mut helm = super::command(&tools.helm, workspace);
    for (name, folder) in
        [("HELM_CONFIG_HOME", "config"), ("HELM_CACHE_HOME", "cache"), ("HELM_DATA_HOME", "data")]
    {
        helm.env(name, workspace.target().join("reach").join(folder));
    }
    helm
}

fn of_unit(unit: &str) -> BTreeSet<&str> {
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    line.unwrap_or_default().split_whitespace().filter_map(|it| it.strip_prefix("CAP_")).collect()
}

/// The list after `add:`.
fn of_manifest(manifest: &str) -> BTreeSet<&str> {
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != "add:").skip(1);
    lines.map_while(|line| line.strip_prefix("- ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_found_in_both() {
        let unit = "[Service]\nCapabilityBoundingSet=CAP_BPF CAP_KILL\n";
        let manifest = "capabilities:\n  add:\n  - BPF\n  - KILL\n  drop:\n  - ALL\n";
        assert_eq!(of_unit(unit), BTreeSet::from(["BPF", "KILL"]));
        assert_eq!(of_manifest(manifest), of_unit(unit));
        assert!(of_unit("") == of_manifest("") && of_unit("").is_empty());
    }
}
