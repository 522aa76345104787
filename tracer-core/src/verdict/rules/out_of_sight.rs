//! Programs in a sandbox or virtual machine make no system calls on this kernel, so silence proves nothing.

use serde_json::{Map, json};

use super::super::Case;
use crate::{
    session::{FactKind, Process, Session},
    text,
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
    // Which of a sandbox's processes are targets depends on what the user named.
    let mut targets = case.session.processes.values().filter(|process| process.is_target);
    let described = |process| Some(describe(process, unseen(case.session, process)?));
    targets.find_map(described).into_iter().collect()
}

/// The kind of guest that a process runs or is a part of, if tracer does not see inside.
pub(in crate::verdict) fn unseen(session: &Session, process: &Process) -> Option<&'static str> {
    let kind = guest(process)?;
    (kind != "gvisor" || !sees_all_sandboxes(session)).then_some(kind)
}

/// Whether tracer looks into every gVisor sandbox of the target.
fn sees_all_sandboxes(session: &Session) -> bool {
    let is_sandbox = |process: &&Process| {
        process.is_target
            && process.argv.first().is_some_and(|name| name.ends_with("runsc-sandbox"))
    };
    !session.sandboxes.is_empty()
        && session
            .processes
            .values()
            .filter(is_sandbox)
            .all(|process| session.looks_into(process.id))
}

/// The kind of guest that a process runs or is a part of, if any.
fn guest(process: &Process) -> Option<&'static str> {
    by_name(process).or_else(|| {
        let tracer = emulator(process)?;
        Some(if is_gvisor(tracer) { "gvisor" } else { "emulated" })
    })
}

fn by_name(process: &Process) -> Option<&'static str> {
    let program = process.argv.first().map_or(process.comm.as_str(), String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    let is = |guest: &str| {
        [name, process.comm.as_str()]
            .iter()
            .any(|name| if guest.ends_with('-') { name.starts_with(guest) } else { *name == guest })
    };
    GUESTS.iter().find(|(guest, _)| is(guest)).map(|(_, why)| *why)
}

/// The name of the tracer that emulates a process's calls.
fn emulator(process: &Process) -> Option<&str> {
    let mut facts = process.facts.iter();
    facts.find(|fact| fact.kind == FactKind::Emulated).map(|fact| fact.about.as_str())
}

/// Whether this is the name of gVisor's kernel, `runsc-sandbox`. It starts itself anew from a deleted file, and is then
/// called `exe`.
fn is_gvisor(tracer: &str) -> bool {
    tracer.starts_with("runsc") || tracer == "exe"
}

/// The platform of a gVisor sandbox: how its kernel gets hold of the guest's calls.
fn platform(process: &Process) -> Option<&str> {
    if emulator(process).is_some() {
        return Some("ptrace");
    }
    let named = |argument: &String| argument.trim_start_matches('-').starts_with("platform=");
    let argument = process.argv.iter().find(|argument| named(argument))?;
    argument.split_once('=').map(|(_, platform)| platform).filter(|platform| !platform.is_empty())
}

fn advice(why: &str) -> &'static str {
    if why == "gvisor" {
        "Look whether runsc is installed and can look into the sandbox: `tracer doctor`, `tracer gvisor config`."
    } else {
        "Run tracer inside of it, or run the command outside of it."
    }
}

fn describe(process: &Process, why: &str) -> Finding {
    let platform = platform(process).filter(|_| why == "gvisor");
    let place = match (why, platform) {
        ("gvisor", Some(platform)) => {
            format!("a gVisor sandbox ({} platform)", text::name(platform))
        }
        ("gvisor", None) => "a gVisor sandbox".to_owned(),
        ("emulated", _) => {
            format!(
                "a guest whose system calls {} emulates",
                emulator(process).map_or_else(|| "its tracer".to_owned(), text::name)
            )
        }
        _ => "a virtual machine".to_owned(),
    };
    // The kernel knows an emulator. Any program can have the name of one.
    let is_known = emulator(process).is_some();
    let who = process.short();
    let message = if is_known {
        format!(
            "{who} is part of {place}: what the programs inside write is out of sight of this kernel, \
             so nothing below says that they did not write."
        )
    } else {
        format!(
            "{who} has the name of a program that runs {place}. If it is one, what the programs inside \
             write is out of sight of this kernel, and nothing below says that they did not write."
        )
    };
    let mut evidence = Map::new();
    evidence.insert("why".into(), json!(why));
    evidence.insert("comm".into(), json!(process.comm));
    evidence.insert("platform".into(), json!(platform));
    Finding {
        rule: Rule::OutOfSight,
        severity: Severity::Warning,
        confidence: if is_known { Confidence::Certain } else { Confidence::Unsure },
        pid: process.id.tgid,
        start_ns: process.id.start_ns,
        fd: None,
        message,
        advice: Some(advice(why).into()),
        evidence,
    }
}
