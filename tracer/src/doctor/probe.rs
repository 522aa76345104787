//! One function for each check.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use procfs::process::{self, MountInfos, Process};
use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

use super::{Check, EnvironmentError, Places, Status};
use crate::{
    gvisor::Runtime,
    sys::{bounded, privileges},
    target::hierarchy::{CgroupLayout, CgroupMounts},
};

// Numbers of capabilities, from the kernel's include/uapi/linux/capability.h.
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The capabilities that attaching needs.
const TO_ATTACH: &str = "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE";

/// The kernel's `PROC_PID_INIT_INO`: the inode number of the first pid namespace, on every machine.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The kernel's `PROC_USER_INIT_INO`: the same for the first user namespace.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// The oldest kernel on which every program loads.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// `BTF_MAGIC` as a little-endian machine writes it.
const BTF_MAGIC: [u8; 2] = [0x9f, 0xeb];

/// Checks the capabilities to load programs and to look at other users' processes.
pub(super) fn capabilities(places: &Places) -> Result<String, EnvironmentError> {
    let effective = effective_capabilities(places)?;
    let has = |capability: u32| effective & (1 << capability) != 0;
    let mut missing = Vec::new();
    if !has(CAP_SYS_ADMIN) {
        let needed = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")];
        missing.extend(needed.iter().filter(|(number, _)| !has(*number)).map(|(_, name)| *name));
    }
    if !has(CAP_SYS_PTRACE) {
        missing.push("CAP_SYS_PTRACE");
    }
    if !missing.is_empty() {
        return Err(EnvironmentError::MissingCapabilities { missing });
    }
    match fs::read_link(places.proc.join("self/ns/user")) {
        Ok(namespace) if namespace != Path::new(INITIAL_USER_NAMESPACE) => {
            Err(EnvironmentError::UserNamespace)
        }
        // A kernel without user namespaces has no such link.
        Ok(_) | Err(_) if has(CAP_SYS_ADMIN) => Ok(format!(
            "root's; attaching needs {TO_ATTACH} (CAP_SYS_ADMIN replaces the first two)"
        )),
        Ok(_) | Err(_) => Ok(format!("{TO_ATTACH}: enough to attach")),
    }
}

/// Checks which capabilities a trace keeps.
pub(super) fn kept_capabilities(places: &Places) -> Check {
    let name = "after attaching";
    match effective_capabilities(places) {
        Ok(effective) => {
            let kept = privileges::names_kept(effective).join(", ");
            let found = format!("keeps {kept}, gives up all others");
            Check { name, status: Status::Ok, found, cure: None }
        }
        Err(error) => warning(name, error.found(), error.cure()),
    }
}

/// Checks whether the open files of other users' processes can be listed.
pub(super) fn other_users_files(places: &Places) -> Check {
    let name = "other users' open files";
    let warn = |found: String, cure: &str| warning(name, found, cure);
    match effective_capabilities(places) {
        Ok(effective) if effective & (1 << CAP_DAC_READ_SEARCH | 1 << CAP_DAC_OVERRIDE) != 0 => {
            Check { name, status: Status::Ok, found: "can be listed".to_owned(), cure: None }
        }
        Ok(_) => warn(
            "cannot be listed, so what they had open before the trace stays unknown".to_owned(),
            "run as root, or add CAP_DAC_READ_SEARCH",
        ),
        Err(error) => warn(error.found(), error.cure()),
    }
}

/// Checks the pid namespace: the kernel counts in its own pids, and others cannot be matched with them.
pub(super) fn pid_namespace(places: &Places) -> Result<String, EnvironmentError> {
    let path = places.proc.join("self/ns/pid");
    match fs::read_link(&path) {
        Ok(namespace) if namespace == Path::new(INITIAL_PID_NAMESPACE) => {
            Ok("the host's".to_owned())
        }
        Ok(_) => Err(EnvironmentError::PidNamespace),
        Err(error) => Err(EnvironmentError::NoProcfs { path, reason: error.to_string() }),
    }
}

/// Checks the kernel's version.
pub(super) fn kernel(places: &Places) -> Result<String, EnvironmentError> {
    let path = places.proc.join("sys/kernel/osrelease");
    let release = bounded::text(&path)
        .map_err(|error| EnvironmentError::NoProcfs { path, reason: error.to_string() })?;
    let release = release.trim().to_owned();
    match parse_release(&release) {
        Some(version) if version >= OLDEST_KERNEL => Ok(format!("Linux {release}")),
        Some(_) | None => Err(EnvironmentError::KernelTooOld { release }),
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Checks the kernel's type information.
pub(super) fn btf(places: &Places) -> Result<String, EnvironmentError> {
    let path = places.btf.clone();
    let missing = |reason: String| EnvironmentError::NoBtf { path: path.clone(), reason };
    let mut magic = [0; 2];
    match File::open(&path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == BTF_MAGIC => Ok(path.display().to_string()),
        Ok(()) => Err(missing("is no BTF file of this machine's kind".to_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Err(missing("does not exist".to_owned())),
            io::ErrorKind::UnexpectedEof => Err(missing("is empty".to_owned())),
            _ => Err(missing(format!("cannot be read ({error})"))),
        },
    }
}

/// Checks whether programs may read kernel memory.
pub(super) fn lockdown(places: &Places) -> Result<String, EnvironmentError> {
    match lockdown_levels(places) {
        Ok(levels) if levels.contains("[confidentiality]") => {
            Err(EnvironmentError::Confidentiality)
        }
        Ok(levels) => {
            let level = levels.split_whitespace().find_map(|level| {
                level.strip_prefix('[').and_then(|level| level.strip_suffix(']'))
            });
            Ok(level.unwrap_or("not reported").to_owned())
        }
        // This kernel has no lockdown. Loading shows whether programs may read its memory.
        Err(_) => Ok("not reported".to_owned()),
    }
}

/// Text such as `none [integrity] confidentiality`.
fn lockdown_levels(places: &Places) -> io::Result<String> {
    let mounted = bounded::text(places.sys.join("kernel/security/lockdown"));
    if mounted.is_ok() || !places.is_host {
        return mounted;
    }
    // securityfs is not mounted (an initramfs, a container). It is opened without a mount point, so nothing on the
    // machine changes, and it is gone when the descriptor is closed.
    let context = fsopen("securityfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let file = openat(&root, "lockdown", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut levels = String::new();
    File::from(file).read_to_string(&mut levels)?;
    Ok(levels)
}

/// Checks the architecture, which decides the layout of registers and the numbers of system calls.
pub(super) fn architecture(places: &Places) -> Result<String, EnvironmentError> {
    match places.architecture {
        known @ ("x86_64" | "aarch64") => Ok(known.to_owned()),
        architecture => Err(EnvironmentError::Architecture { architecture }),
    }
}

/// Checks cgroups, which are needed only to trace a cgroup or a container.
pub(super) fn cgroups(places: &Places) -> Check {
    let name = "cgroups";
    let ok = |found: &str| Check { name, status: Status::Ok, found: found.to_owned(), cure: None };
    match CgroupMounts::read(&places.proc, &places.sys.join("fs/cgroup")) {
        Ok(mounts) => match mounts.layout() {
            CgroupLayout::V2 => ok("version 2"),
            CgroupLayout::V1 => ok("version 1"),
            CgroupLayout::Hybrid => ok("hybrid: versions 1 and 2"),
            CgroupLayout::None => warning(
                name,
                "not mounted: tracer cannot trace containers or cgroups".to_owned(),
                "mount them, or in a container add `-v /sys/fs/cgroup:/sys/fs/cgroup:ro`",
            ),
        },
        Err(error) => warning(name, error.to_string(), "mount procfs on /proc"),
    }
}

/// Checks tracefs. It is not required.
pub(super) fn tracefs(places: &Places) -> Check {
    let mounts = Process::new_with_root(places.proc.join("self"))
        .and_then(|process| bounded::of_process::<MountInfos>(&process, "mountinfo"))
        .map(|mounts| mounts.0)
        .unwrap_or_default();
    let found = match mounts.iter().find(|mount| mount.fs_type == "tracefs") {
        Some(mount) => format!("mounted on {}, not needed", mount.mount_point.display()),
        None => "not mounted, not needed".to_owned(),
    };
    Check { name: "tracefs", status: Status::Ok, found, cure: None }
}

fn warning(name: &'static str, found: String, cure: &str) -> Check {
    Check { name, status: Status::Warn, found, cure: Some(cure.to_owned()) }
}

fn effective_capabilities(places: &Places) -> Result<u64, EnvironmentError> {
    let path = places.proc.join("self");
    Process::new_with_root(path.clone())
        .and_then(|process| bounded::of_process::<process::Status>(&process, "status"))
        .map(|status| status.capeff)
        .map_err(|error| EnvironmentError::NoProcfs { path, reason: error.to_string() })
}

/// `runsc`: which release it is, and what it cannot tell.
pub(super) fn gvisor(runtime: Option<&Runtime>) -> Check {
    let name = "gVisor";
    let Some(runtime) = runtime else {
        let found = "runsc is not in the system's folders: there are no sandboxes to look into";
        return Check { name, status: Status::Ok, found: found.to_owned(), cure: None };
    };
    let program = runtime.program().display();
    let inspected = || {
        let (version, platform) = (runtime.version()?, runtime.platform()?);
        Ok((format!("{version}, platform {platform}"), runtime.missing_points()?))
    };
    match inspected() {
        Ok((version, missing)) if missing.is_empty() => {
            let found = format!("{program} ({version}): tracer can look into its sandboxes");
            Check { name, status: Status::Ok, found, cure: None }
        }
        Ok((version, missing)) => {
            let found = format!("{program} ({version}) lacks {}", missing.join(", "));
            let cure = "install a newer release of gVisor".to_owned();
            Check { name, status: Status::Warn, found, cure: Some(cure) }
        }
        Err(error) => {
            let cure = "gVisor before December 2022 has no trace sessions: install a newer release";
            Check { name, status: Status::Warn, found: error, cure: Some(cure.to_owned()) }
        }
    }
}
