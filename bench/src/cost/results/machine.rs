//! Where and with what a run was made.

use std::{fs, process::Command};

use serde::Serialize;
use xtask::{command, workspace::Workspace};

use crate::harness::place::Place;

/// The machine and the versions.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// The day, UTC.
    pub(crate) date: String,
    /// The processor.
    pub(crate) cpu: String,
    /// How many of them.
    pub(crate) cpus: usize,
    /// `uname -r`.
    pub(crate) kernel: String,
    /// The virtual machine it is, if it is one.
    pub(crate) virtualisation: String,
    /// What was measured: name and version.
    pub(crate) versions: Vec<(&'static str, String)>,
    /// Programs of others that were attached to the same machine: their cost is in every figure.
    pub(crate) foreign_programs: Option<usize>,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(workspace: &Workspace, place: &Place) -> Self {
        let said = |program: &str, args: &[&str]| first_line(Command::new(program).args(args));
        let mut git = Command::new("git");
        git.arg("-C").arg(workspace.root()).args(["describe", "--always", "--dirty"]);
        let tracer =
            [first_line(Command::new(&place.tracer).arg("--version")), first_line(&mut git)];
        Self {
            date: said("date", &["--utc", "+%F"]),
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: said("uname", &["-r"]),
            virtualisation: said("systemd-detect-virt", &["--vm"]),
            versions: vec![
                ("tracer", tracer.join(" ").trim().to_owned()),
                ("bpftrace", said("bpftrace", &["--version"])),
                ("strace", said("strace", &["--version"])),
                ("perf", said("perf", &["--version"])),
                ("docker", said("docker", &["--version"])),
            ],
            foreign_programs: attached_programs(),
        }
    }

    /// As a list.
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

/// What a program says first; nothing where there is no such program.
fn first_line(command: &mut Command) -> String {
    let said = command::capture(command).unwrap_or_default();
    said.lines().next().unwrap_or_default().trim().to_owned()
}

fn cpu(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map_or("CPU", |(_, model)| model);
    model.trim().to_owned()
}

/// How many tracing programs are attached while nothing of ours is.
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
