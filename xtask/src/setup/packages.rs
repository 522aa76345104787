//! Programs in Debian packages: finds missing ones and installs them.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail};

use crate::command::{self, say};

/// A program and its package.
pub(crate) struct Provided {
    program: &'static str,
    package: &'static str,
}

const fn from_package(program: &'static str, package: &'static str) -> Provided {
    Provided { program, package }
}

/// The packages of the C linker, which cargo needs.
pub(crate) const C_LINKER: [&str; 2] = ["gcc", "libc6-dev"];

/// Programs that the privileged tests start.
pub(crate) const FOR_TESTS: [Provided; 19] = [
    from_package("dockerd", "docker.io"),
    from_package("docker", "docker.io"),
    from_package("runc", "runc"),
    from_package("containerd", "containerd"),
    from_package("iptables", "iptables"),
    from_package("docker-registry", "docker-registry"),
    from_package("runsc", "runsc"),
    from_package("strace", "strace"),
    from_package("gcc", "gcc"),
    from_package("python3", "python3"),
    from_package("pip3", "python3-pip"),
    from_package("git", "git"),
    from_package("zsh", "zsh"),
    from_package("fish", "fish"),
    from_package("man", "man-db"),
    from_package("mandoc", "mandoc"),
    from_package("systemd", "systemd"),
    from_package("prometheus", "prometheus"),
    from_package("journalctl", "systemd"),
];

/// Tracers with which the benchmark compares, and `bpftool`, which lists eBPF programs.
pub(crate) const FOR_BENCH: [Provided; 4] = [
    from_package("bpftrace", "bpftrace"),
    from_package("strace", "strace"),
    from_package("perf", "linux-perf"),
    from_package("bpftool", "bpftool"),
];

/// The compiler of libFuzzer.
const FOR_FUZZ: [Provided; 1] = [from_package("c++", "g++")];

/// Programs that try packages.
const FOR_PACKAGES: [Provided; 3] =
    [from_package("dpkg", "dpkg"), from_package("rpm", "rpm"), from_package("objcopy", "binutils")];

/// Programs that try packages in other userlands.
const FOR_USERLANDS: [Provided; 2] =
    [from_package("debootstrap", "debootstrap"), from_package("unshare", "util-linux")];

/// The emulator for x86-64.
const FOR_VM: [Provided; 1] = [from_package("qemu-system-x86_64", "qemu-system-x86")];

/// The emulator and the linker for arm64.
const FOR_ARM64: [Provided; 2] = [
    from_package("qemu-system-aarch64", "qemu-system-arm"),
    from_package("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
];

/// A file and the package of the C library for arm64, which contains no program.
const ARM64_LIBC: (&str, &str) = ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross");

/// A library that rotel needs, and its package. No program is in it.
const ROTEL_LIBRARY: (&str, &str) = ("libpython3.11.so.1.0", "libpython3.11");

/// The package of a busybox without shared libraries: images and initramfs contain nothing else.
const STATIC_BUSYBOX: &str = "busybox-static";

/// Whether this process may install packages and load eBPF programs.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Whether this system has apt.
pub(crate) fn has_apt() -> bool {
    command::find("apt-get").is_some()
}

/// Missing packages of the privileged tests.
pub(crate) fn missing_for_tests() -> Vec<&'static str> {
    let mut missing = with_static_busybox(missing(&FOR_TESTS));
    let (library, package) = ROTEL_LIBRARY;
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];
    if !folders.iter().any(|folder| Path::new(folder).join(library).exists()) {
        missing.push(package);
    }
    missing
}

/// Missing packages of the fuzzers' build.
pub(crate) fn missing_for_fuzz() -> Vec<&'static str> {
    missing(&FOR_FUZZ)
}

/// Missing packages for trying packages.
pub(crate) fn missing_for_packages() -> Vec<&'static str> {
    with_static_busybox(missing(&FOR_PACKAGES))
}

/// Missing packages for trying packages in other userlands.
pub(crate) fn missing_for_userlands() -> Vec<&'static str> {
    missing(&FOR_USERLANDS)
}

/// Missing packages for booting x86-64 kernels.
pub(crate) fn missing_for_vm() -> Vec<&'static str> {
    with_static_busybox(missing(&FOR_VM))
}

/// Missing packages for building programs for arm64 and booting its kernels.
pub(crate) fn missing_for_arm64() -> Vec<&'static str> {
    let (library, package) = ARM64_LIBC;
    let mut missing = missing(&FOR_ARM64);
    if !Path::new(library).exists() {
        missing.push(package);
    }
    missing
}

fn with_static_busybox(mut missing: Vec<&'static str>) -> Vec<&'static str> {
    if static_busybox().is_none() {
        missing.push(STATIC_BUSYBOX);
    }
    missing
}

/// The packages of missing programs.
pub(crate) fn missing(programs: &[Provided]) -> Vec<&'static str> {
    let mut missing: Vec<_> = programs
        .iter()
        .filter(|provided| command::find(provided.program).is_none())
        .map(|provided| provided.package)
        .collect();
    missing.dedup();
    missing
}

/// The path of busybox, if it needs no shared library.
pub fn static_busybox() -> Option<std::path::PathBuf> {
    command::find("busybox").filter(|busybox| is_static(busybox))
}

/// Announces and installs packages. `purpose` completes the sentence "PACKAGES is needed to".
///
/// # Errors
///
/// This is no Debian system, the process is not root, or apt fails.
pub fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let list = packages.join(" ");
    if !has_apt() {
        bail!(
            "{list} is needed to {purpose}, and there is no apt-get to install it: install what \
             these Debian packages hold with the package manager of this system"
        );
    }
    if !is_root() {
        bail!(
            "{list} is needed to {purpose}; run as root: apt-get update && apt-get install -y \
             --no-install-recommends {list}"
        );
    }
    say(&format!("installing the packages {list}: needed to {purpose}"));
    update_lists();
    let mut apt = apt_get();
    command::run(apt.args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

/// Fetches the package lists, once per process. A failure is only reported: the source that matters may have been
/// reachable.
fn update_lists() {
    static DONE: AtomicBool = AtomicBool::new(false);

    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Err(error) = command::run(apt_get().arg("update")) {
        say(&format!("{error:#}; going on with the package lists as they are"));
    }
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    // No questions, and no check of running services by needrestart.
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("NEEDRESTART_SUSPEND", "1").args([
        "-qq",
        "-o",
        "Dpkg::Use-Pty=0",
        // Another apt may be running, for instance after a boot.
        "-o",
        "DPkg::Lock::Timeout=300",
    ]);
    apt
}

/// A dynamic executable contains the path of its loader (segment `PT_INTERP`), always near the beginning.
fn is_static(program: &Path) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(program).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF") && !contains(&head, b"/ld-")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_and_a_script_are_not_static() {
        assert!(!is_static(&command::find("sh").unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(!is_static(&script));
    }
}
