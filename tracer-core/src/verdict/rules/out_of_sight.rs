//! Programs in a sandbox or virtual machine make no system calls on this kernel, so silence proves nothing.

use serde_json::{Map, json};

use super::super::Case;
use crate::{
    session::Process,
    verdict::{Confidence, Finding, Rule, Severity},
};

/// Names of programs that run a guest, and the kind of guest; a name that ends with `-` is a prefix.
const GUESTS: [(&str, &str); 10] = [
    ("runsc", "gvisor"),
    ("runsc-sandbox", "gvisor"),
    ("runsc-gofer", "gvisor"),
    ("qemu-system-", "virtual machine"),
    ("qemu-kvm", "virtual machine"),
    ("firecracker", "virtual machine"),
    ("cloud-hypervisor", "virtual machine"),
    ("containerd-shim-kata-", "virtual machine"),
    ("crosvm", "virtual machine"),
    ("virtiofsd", "virtual machine"),
];

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let mut targets = case.session.processes.values().filter(|process| process.is_target);
    targets.find_map(|process| Some(describe(process, guest(process)?))).into_iter().collect()
}

/// The kind of guest that a process runs, if any.
pub(in crate::verdict) fn guest(process: &Process) -> Option<&'static str> {
    let program = process.argv.first().map_or(process.comm.as_str(), String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    let is = |guest: &str| {
        [name, process.comm.as_str()]
            .iter()
            .any(|name| if guest.ends_with('-') { name.starts_with(guest) } else { *name == guest })
    };
    GUESTS.iter().find(|(guest, _)| is(guest)).map(|(_, why)| *why)
}

fn describe(process: &Process, why: &str) -> Finding {
    let sandbox = if why == "gvisor" { "a gVisor sandbox" } else { "a virtual machine" };
    let mut evidence = Map::new();
    evidence.insert("why".into(), json!(why));
    evidence.insert("comm".into(), json!(process.comm));
    Finding {
        rule: Rule::OutOfSight,
        severity: Severity::Warning,
        confidence: Confidence::Certain,
        pid: process.id.tgid,
        fd: None,
        message: format!(
            "{} runs {sandbox}: what the programs inside write is out of sight of this kernel, so \
             nothing below says that they did not write.",
            process.short()
        ),
        advice: Some("Run tracer inside of it, or run the command outside of it.".into()),
        evidence,
    }
}
