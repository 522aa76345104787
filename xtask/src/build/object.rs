//! Builds the eBPF object.

use std::{fs, path::Path, time::SystemTime};

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, Section, SectionData};

use super::Verbosity;
use crate::{
    cargo,
    command::{self, say},
    setup::{Ready, toolchain::BPF_TARGET},
    workspace::Workspace,
};

/// Builds the eBPF object and copies it to [`Workspace::ebpf_object`], where the tool's build script reads it.
pub fn build(workspace: &Workspace, ready: &Ready, verbosity: Verbosity) -> Result<()> {
    if verbosity == Verbosity::Brief {
        say(&format!("building the eBPF programs with {}", ready.toolchain));
    }
    let target = workspace.bpf_target();
    let mut build = cargo::cargo(workspace);
    build.args(["build", "--package", "tracer-ebpf", "--release", "--target-dir"]).arg(&target);
    if verbosity == Verbosity::Brief {
        build.arg("--quiet");
    }
    ready.configure(&mut build);
    let begun = SystemTime::now();
    command::run(&mut build)?;
    let built = target.join(BPF_TARGET).join("release");
    install(&built.join("floor"), &workspace.floor_object())?;
    install(&built.join("tracer-ebpf"), &workspace.ebpf_object())?;
    remember(begun, &workspace.ebpf_object().with_file_name("begun"))
}

/// Writes a file with the time at which the build began. Without `cargo xtask`, the tool's build script takes the object
/// if its sources are older than that: the object itself keeps its time as long as its content is the same.
fn remember(begun: SystemTime, file: &Path) -> Result<()> {
    let written = fs::File::create(file).and_then(|file| file.set_modified(begun));
    written.with_context(|| format!("cannot write {}", file.display()))
}

fn install(built: &Path, to: &Path) -> Result<()> {
    let object =
        fs::read(built).with_context(|| format!("the build left no {}", built.display()))?;
    let stripped =
        without_dwarf(&object).with_context(|| format!("{} is no eBPF object", built.display()))?;
    write_if_changed(&stripped, to)
}

/// Removes DWARF, which the linker has converted to BTF, and the relocations of BTF, which a loader does not use.
/// They are nine tenths of the object, and the loader would parse them at each start.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in builder.sections.iter_mut() {
        let name: &[u8] = &section.name;
        section.delete =
            [&b".debug_"[..], b".rel.debug_", b".rel.BTF"].iter().any(|it| name.starts_with(it));
    }
    builder.delete_orphans();
    // The linker keeps section names in the symbols' string table; the builder needs a table of their own.
    let is_of_names = |section: &Section<'_>| matches!(section.data, SectionData::SectionString);
    if !builder.sections.iter().any(is_of_names) {
        let names = builder.sections.add();
        (names.name, names.sh_type) = (b".shstrtab"[..].into(), object::elf::SHT_STRTAB);
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Writes a file unless it has this content: a new modification time makes cargo rebuild the tool.
fn write_if_changed(content: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::file_identity;

    #[test]
    fn an_unchanged_copy_keeps_its_time_of_modification() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("deeper/to");
        write_if_changed(b"one", &to).unwrap();
        let first = file_identity(&to).unwrap();
        write_if_changed(b"one", &to).unwrap();
        assert_eq!(file_identity(&to).unwrap(), first);
        write_if_changed(b"other", &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"other");
    }
}
