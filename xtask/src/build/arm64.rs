//! Builds the eBPF object for arm64 and checks its table of system calls.
//!
//! Each object has a table from system call numbers to classes. The numbers differ between architectures, the names
//! do not. With the names from the kernel's headers, both tables must be equal.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::{
    build::{self, Verbosity},
    cargo, command,
    setup::{Ready, toolchain::BPF_TARGET},
    workspace::Workspace,
};

/// The architecture, as `bpf_target_arch` names it.
const ARCHITECTURE: &str = "aarch64";
/// Numbers of x86-64, from linux-libc-dev.
const X86_HEADER: &str = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
/// arm64 uses the generic numbers unchanged (`arch/arm64/include/uapi/asm/unistd.h`).
const GENERIC_HEADER: &str = "/usr/include/asm-generic/unistd.h";
/// The end of the mangled name of `tracer_ebpf::syscalls::table::CLASSES`.
const TABLE: &str = "5table7CLASSES";
/// The low byte of an entry is the class of the native call, the high byte that of the 32-bit one.
const NATIVE_CLASS: u16 = 0xff;

/// Builds the objects for arm64 and x86-64 and compares their tables.
///
/// # Errors
///
/// A build fails, a header is missing, or the tables differ.
pub fn check(workspace: &Workspace, ready: &Ready) -> Result<()> {
    build::build_object(workspace, ready, Verbosity::Full)?;
    let object = build(workspace, ready)?;
    let x86 = by_name(&table(&workspace.ebpf_object())?, &read_numbers(X86_HEADER)?);
    let arm64 = by_name(&table(&object)?, &read_numbers(GENERIC_HEADER)?);
    let differences = differences(&x86, &arm64);
    ensure!(
        differences.is_empty(),
        "tracer-ebpf/src/syscalls/table.rs does not fit the kernel's headers: {}",
        differences.join("; ")
    );
    Ok(())
}

fn read_numbers(header: &str) -> Result<BTreeMap<String, usize>> {
    let text = fs::read_to_string(header);
    let text = text.with_context(|| format!("cannot read {header}: install linux-libc-dev"))?;
    Ok(numbers(&text))
}

/// Builds the object for arm64 and returns its path.
pub fn build(workspace: &Workspace, ready: &Ready) -> Result<PathBuf> {
    let target = workspace.target().join("bpf-arm64");
    let mut build = cargo::cargo(workspace);
    build.args(["build", "--package", "tracer-ebpf", "--bin", "tracer-ebpf", "--release"]);
    build.arg("--target-dir").arg(&target);
    ready.configure_for(&mut build, ARCHITECTURE);
    command::run(&mut build)?;
    Ok(target.join(BPF_TARGET).join("release/tracer-ebpf"))
}

/// The object's table: an entry for each number.
fn table(path: &Path) -> Result<Vec<u16>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bad = || format!("{} has no table of system calls", path.display());
    let file = object::File::parse(&*bytes).with_context(bad)?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name().is_ok_and(|name| name.ends_with(TABLE)))
        .with_context(bad)?;
    let section = file.section_by_index(symbol.section_index().with_context(bad)?)?;
    let table = section.data_range(symbol.address(), symbol.size())?.with_context(bad)?;
    Ok(table.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Reads `#define __NR_name number`. The generic header has other names for some calls, `__NR3264_fstatat`, and defines the
/// names that 64-bit programs use by those, before the ones of 32-bit programs.
fn numbers(header: &str) -> BTreeMap<String, usize> {
    let (mut numbers, mut generic) = (BTreeMap::new(), BTreeMap::new());
    for line in header.lines() {
        let mut words = line.strip_prefix("#define ").unwrap_or_default().split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let known = value.parse().ok();
        if let Some(name) = name.strip_prefix("__NR_") {
            let number = known.or_else(|| generic.remove(value));
            numbers.extend(number.map(|number| (name.to_owned(), number)));
        } else if name.starts_with("__NR3264_") {
            generic.extend(known.map(|number| (name.to_owned(), number)));
        }
    }
    numbers
}

/// The classes other than 0 by name. A number without a name stands for itself.
fn by_name(table: &[u16], numbers: &BTreeMap<String, usize>) -> BTreeMap<String, u16> {
    let mut classes = BTreeMap::new();
    for (number, class) in table.iter().map(|entry| entry & NATIVE_CLASS).enumerate() {
        if class != 0 {
            let name = numbers.iter().find(|(_, known)| **known == number);
            let name = name.map_or_else(|| format!("number {number}"), |(name, _)| name.clone());
            classes.insert(name, class);
        }
    }
    classes
}

/// Calls that newer architectures do not have.
const ONLY_X86: [&str; 5] = ["creat", "dup2", "eventfd", "open", "pipe"];

fn differences(x86: &BTreeMap<String, u16>, arm64: &BTreeMap<String, u16>) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, class) in x86.iter().filter(|(name, _)| !ONLY_X86.contains(&name.as_str())) {
        if arm64.get(name) != Some(class) {
            let there = arm64.get(name).copied().unwrap_or_default();
            differences.push(format!("{name} is of class {class} on x86-64 and {there} on arm64"));
        }
    }
    let more = arm64.keys().filter(|name| !x86.contains_key(*name));
    differences.extend(more.map(|name| format!("{name} has a class on arm64 only")));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86: &str = "#define __NR_read 0\n#define __NR_write 1\n#define __NR_open 2\n\
        #define __NR_sendfile 40\n#define __NR_newfstatat 262\n";
    const GENERIC: &str = "#define __NR_read 63\n__SYSCALL(__NR_read, sys_read)\n\
        #define __NR_write 64\n#define __NR3264_sendfile 71\n#define __NR_sendfile __NR3264_sendfile\n\
        #define __NR3264_fstatat 79\n#define __NR_newfstatat __NR3264_fstatat\n#define __NR_fstatat64 __NR3264_fstatat\n";

    fn tables(arm64: &[(usize, u16)]) -> Vec<String> {
        let table = |entries: &[(usize, u16)]| {
            let mut table = vec![0; 300];
            entries.iter().for_each(|(number, class)| table[*number] = *class);
            table
        };
        let x86 =
            by_name(&table(&[(0, 13), (1, 0x0301), (2, 36), (40, 9), (262, 48)]), &numbers(X86));
        differences(&x86, &by_name(&table(arm64), &numbers(GENERIC)))
    }

    #[test]
    fn tables_that_are_equal_by_name_agree() {
        assert_eq!(tables(&[(63, 13), (64, 1), (71, 9), (79, 48)]), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_a_missing_and_an_invented_number_are_reported() {
        assert_eq!(
            tables(&[(63, 13), (65, 1), (71, 8), (79, 48)]),
            [
                "sendfile is of class 9 on x86-64 and 8 on arm64",
                "write is of class 1 on x86-64 and 0 on arm64",
                "number 65 has a class on arm64 only",
            ]
        );
    }
}
