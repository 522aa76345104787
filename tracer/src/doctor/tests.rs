//! Machines in a temporary directory, each with one thing wrong.

use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;
use tracer_loader::btf::PATH_VARIABLE;

use super::*;

/// A machine on which every check passes.
struct Machine {
    directory: TempDir,
    places: Places,
}

impl Machine {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path();
        let places = Places {
            proc: root.join("proc"),
            sys: root.join("sys"),
            btf: root.join("sys/kernel/btf/vmlinux"),
            architecture: "x86_64",
            is_host: false,
        };
        let machine = Self { directory, places };
        machine.write("proc/sys/kernel/osrelease", b"5.10.0-41-amd64\n");
        machine.write("sys/kernel/btf/vmlinux", &[0x9f, 0xeb, 1, 0]);
        machine.write("proc/1/mountinfo", b"31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        symlink("1", machine.places.proc.join("self")).unwrap();
        fs::create_dir(machine.places.proc.join("1/ns")).unwrap();
        machine.link_namespace("pid", 4_026_531_836);
        machine.link_namespace("user", 4_026_531_837);
        machine.set_capabilities(u64::MAX >> 23);
        machine
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link_namespace(&self, kind: &str, inode: u64) {
        let link = self.places.proc.join("1/ns").join(kind);
        let _ = fs::remove_file(&link);
        symlink(format!("{kind}:[{inode}]"), link).unwrap();
    }

    fn set_capabilities(&self, effective: u64) {
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let lines = own.lines().map(|line| match line.strip_prefix("CapEff:") {
            Some(_) => format!("CapEff:\t{effective:016x}\n"),
            None => format!("{line}\n"),
        });
        self.write("proc/1/status", lines.collect::<String>().as_bytes());
    }

    fn preflight(&self) -> Result<(), EnvironmentError> {
        preflight_in(&self.places)
    }

    fn check(&self, name: &str) -> Check {
        inspect_in(&self.places).into_iter().find(|check| check.name == name).unwrap()
    }
}

fn bits(numbers: &[u32]) -> u64 {
    numbers.iter().map(|number| 1 << number).sum()
}

#[test]
fn a_good_machine_passes_every_check() {
    let machine = Machine::new();
    assert_eq!(machine.preflight(), Ok(()));
    for check in inspect_in(&machine.places) {
        assert_eq!((check.status, &check.cure), (Status::Ok, &None), "{check:?}");
    }
    assert_eq!(machine.check("kernel").found, "Linux 5.10.0-41-amd64");
    let kept = "keeps CAP_BPF, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, gives up all others";
    assert_eq!(machine.check("after attaching").found, kept);
    assert_eq!(machine.check("lockdown").found, "not reported");
    assert_eq!(machine.check("cgroups").found, "version 2");
    assert_eq!(machine.check("tracefs").found, "not mounted, not needed");
}

#[test]
fn missing_capabilities_are_named() {
    let machine = Machine::new();
    machine.set_capabilities(0);
    let error = machine.preflight().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the right to trace is missing (CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE): run as root with `sudo`, or in a container with `--privileged`"
    );
    let check = machine.check("capabilities");
    assert_eq!(check.status, Status::Fail);
    assert_eq!(Some(check.found.as_str()), error.to_string().split(": ").next());
    machine.set_capabilities(bits(&[39, 19]));
    let missing = vec!["CAP_PERFMON"];
    assert_eq!(machine.preflight(), Err(EnvironmentError::MissingCapabilities { missing }));
}

#[test]
fn fewer_capabilities_than_roots_are_enough() {
    let machine = Machine::new();
    machine.set_capabilities(bits(&[39, 38, 19]));
    assert_eq!(machine.preflight(), Ok(()));
    let check = machine.check("other users' open files");
    assert_eq!(check.status, Status::Warn);
    assert!(check.cure.unwrap().contains("CAP_DAC_READ_SEARCH"));
    let needed = "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE: enough to attach";
    assert_eq!(machine.check("capabilities").found, needed);
    let kept = "keeps CAP_BPF, CAP_SYS_PTRACE, gives up all others";
    assert_eq!(machine.check("after attaching").found, kept);
    machine.set_capabilities(bits(&[21, 19, 2]));
    assert_eq!(machine.preflight(), Ok(()));
    assert_eq!(machine.check("other users' open files").status, Status::Ok);
}

#[test]
fn root_of_a_user_namespace_is_not_enough() {
    let machine = Machine::new();
    machine.link_namespace("user", 4_026_532_000);
    assert_eq!(machine.preflight(), Err(EnvironmentError::UserNamespace));
}

#[test]
fn another_pid_namespace_is_cured_by_the_hosts() {
    let machine = Machine::new();
    machine.link_namespace("pid", 4_026_532_001);
    let error = machine.preflight().unwrap_err();
    assert_eq!(error, EnvironmentError::PidNamespace);
    assert!(error.to_string().contains("`--pid=host`"), "{error}");
}

#[test]
fn missing_or_foreign_type_information_is_told_apart() {
    let mut machine = Machine::new();
    machine.write("sys/kernel/btf/vmlinux", b"\x7fELF");
    assert!(machine.preflight().unwrap_err().found().contains("is no BTF file"));
    machine.write("sys/kernel/btf/vmlinux", b"");
    assert!(machine.preflight().unwrap_err().found().ends_with("is empty"));
    machine.places.btf = machine.directory.path().join("nowhere");
    let error = machine.preflight().unwrap_err();
    assert!(error.found().ends_with("does not exist"), "{error}");
    assert!(error.cure().contains(PATH_VARIABLE));
    machine.write("nowhere", &[0x9f, 0xeb, 1, 0]);
    assert_eq!(machine.preflight(), Ok(()));
}

#[test]
fn old_and_unreadable_kernel_versions_fail() {
    let machine = Machine::new();
    for (release, is_enough) in [
        ("4.19.0-27-amd64", false),
        ("5.9.16", false),
        ("5.10", true),
        ("6.18.44-fc", true),
        ("7.2-rc1", true),
        ("10.0.0", true),
        ("unknown", false),
    ] {
        machine.write("proc/sys/kernel/osrelease", release.as_bytes());
        assert_eq!(machine.preflight().is_ok(), is_enough, "{release}");
    }
}

#[test]
fn only_the_strictest_lockdown_fails() {
    let machine = Machine::new();
    machine.write("sys/kernel/security/lockdown", b"none [integrity] confidentiality\n");
    assert_eq!(machine.preflight(), Ok(()));
    assert_eq!(machine.check("lockdown").found, "integrity");
    machine.write("sys/kernel/security/lockdown", b"none integrity [confidentiality]\n");
    assert_eq!(machine.preflight(), Err(EnvironmentError::Confidentiality));
}

#[test]
fn another_processor_fails() {
    let mut machine = Machine::new();
    machine.places.architecture = "aarch64";
    assert_eq!(machine.preflight(), Ok(()));
    machine.places.architecture = "riscv64";
    assert!(machine.preflight().unwrap_err().to_string().contains("riscv64"));
}

#[test]
fn a_machine_without_cgroups_can_still_trace_processes() {
    let machine = Machine::new();
    machine
        .write("proc/1/mountinfo", b"24 23 0:12 / /sys/kernel/tracing rw - tracefs tracefs rw\n");
    assert_eq!(machine.preflight(), Ok(()));
    assert_eq!(machine.check("cgroups").status, Status::Warn);
    assert_eq!(machine.check("tracefs").found, "mounted on /sys/kernel/tracing, not needed");
}

#[test]
fn without_procfs_nothing_is_certain() {
    let mut machine = Machine::new();
    machine.places.proc = machine.directory.path().join("empty");
    let error = machine.preflight().unwrap_err();
    assert!(matches!(error, EnvironmentError::NoProcfs { .. }), "{error}");
    assert!(
        inspect_in(&machine.places)
            .iter()
            .all(|check| { (check.status == Status::Ok) == check.cure.is_none() })
    );
}

#[test]
fn this_machine_can_be_inspected() {
    let checks = inspect();
    assert_eq!(checks.len(), 11);
    assert!(checks.iter().all(|check| !check.found.is_empty()));
}
