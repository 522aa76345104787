//! The machine and the versions of a run.

use std::{fs, process::Command};

use serde::Serialize;
use xtask::{command, workspace::Workspace};

use crate::harness::fixture::Fixture;

/// The machine and the versions of the programs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// The date, UTC.
    pub(crate) date: String,
    /// The processor's model.
    pub(crate) cpu: String,
    /// Number of processors.
    pub(crate) cpus: usize,
    /// `uname -r`.
    pub(crate) kernel: String,
    /// The kind of virtual machine, or `none`.
    pub(crate) virtualisation: String,
    /// Names and versions of the measured programs.
    pub(crate) versions: Vec<(&'static str, String)>,
    /// Number of other attached tracing programs, whose cost is in all figures.
    pub(crate) foreign_programs: Option<usize>,
}

impl Machine {
    /// Collects the facts. Those that cannot be found stay empty.
    pub(crate) fn inspect(workspace: &Workspace, fixture: &Fixture) -> Self {
        let output = |program: &str, args: &[&str]| first_line(Command::new(program).args(args));
        let mut git = Command::new("git");
        git.arg("-C").arg(workspace.root()).args(["describe", "--always", "--dirty"]);
        let tracer =
            [first_line(Command::new(&fixture.tracer).arg("--version")), first_line(&mut git)];
        Self {
            date: output("date", &["--utc", "+%F"]),
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: output("uname", &["-r"]),
            virtualisation: output("systemd-detect-virt", &["--vm"]),
            versions: vec![
                ("tracer", tracer.join(" ").trim().to_owned()),
                ("bpftrace", output("bpftrace", &["--version"])),
                ("strace", output("strace", &["--version"])),
                ("perf", output("perf", &["--version"])),
                ("docker", output("docker", &["--version"])),
            ],
            foreign_programs: attached_programs(),
        }
    }

    /// The facts as a Markdown list.
    pub(crate) fn list(&self) -> String {
        let mut text = format!(
            "* {}, Linux {}, {} × {}{}\n",
            self.date,
            self.kernel,
            self.cpus,
            self.cpu,
            if matches!(self.virtualisation.as_str(), "" | "none") {
                String::new()
            } else {
                format!(" ({})", self.virtualisation)
            },
        );
        let named: Vec<_> =
            self.versions.iter().filter(|(_, version)| !version.is_empty()).collect();
        let versions: Vec<_> = named
            .iter()
            .map(|(name, version)| match version.starts_with(*name) {
                true => version.clone(),
                false => format!("{name} {version}"),
            })
            .collect();
        text += &format!("* {}\n", versions.join("; "));
        if self.foreign_programs.is_some_and(|count| count > 0) {
            text +=
                "* other eBPF programs were attached meanwhile: their cost is in every figure\n";
        }
        text
    }
}

/// The first line of a program's output; empty if it fails.
fn first_line(command: &mut Command) -> String {
    let output = command::capture(command).unwrap_or_default();
    output.lines().next().unwrap_or_default().trim().to_owned()
}

fn cpu(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map_or("CPU", |(_, model)| model);
    model.trim().to_owned()
}

/// The number of attached tracing programs. Called before tracer attaches.
fn attached_programs() -> Option<usize> {
    let links =
        command::capture(Command::new(command::find("bpftool")?).args(["link", "-j"])).ok()?;
    count_links(&links)
}

fn count_links(json: &str) -> Option<usize> {
    let links: Vec<serde_json::Value> = serde_json::from_str(json).ok()?;
    let is_tracing = |link: &&serde_json::Value| {
        matches!(link["type"].as_str(), Some("tracing" | "raw_tracepoint"))
    };
    Some(links.iter().filter(is_tracing).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.9GHz\nmodel name\t: other\n";
        assert_eq!(cpu(text), "Some CPU @ 2.9GHz");
        assert_eq!(cpu(""), "CPU");
    }

    #[test]
    fn links_of_tracing_programs_are_counted() {
        let json = r#"[{"id":1,"type":"tracing"},{"id":2,"type":"cgroup"},{"id":3,"type":"raw_tracepoint"}]"#;
        assert_eq!(count_links(json), Some(2));
        assert_eq!(count_links("[]"), Some(0));
        assert_eq!(count_links("Error"), None);
    }

    #[test]
    fn a_version_is_not_named_twice() {
        let machine = Machine {
            versions: vec![
                ("strace", "strace -- version 6.1".into()),
                ("tracer", "v1".into()),
                ("perf", String::new()),
            ],
            ..Machine::default()
        };
        assert!(
            machine.list().contains("* strace -- version 6.1; tracer v1\n"),
            "{}",
            machine.list()
        );
    }
}
