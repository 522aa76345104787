//! Builds the eBPF object with the BPF compiler, then the tool with the object inside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, Section, SectionData};

use crate::{
    cargo,
    command::{self, say},
    fingerprint,
    setup::Ready,
    stamp,
    workspace::Workspace,
};

/// The variable through which the tool's build script learns where the object is.
pub const OBJECT_VARIABLE: &str = "TRACER_EBPF_OBJECT";

/// How the tool is built. The eBPF programs are always optimised: the verifier has limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For use.
    Release,
    /// For a debugger.
    Debug,
}

impl Profile {
    /// The directory that cargo gives it under the target directory.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }
}

/// How much a build says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// cargo's own progress.
    Full,
    /// One line for each part that is built; warnings and errors all the same.
    Brief,
}

/// Builds both parts and returns where the tool is. cargo decides what is out of date.
pub fn build(
    workspace: &Workspace,
    ready: &Ready,
    profile: Profile,
    voice: Voice,
) -> Result<PathBuf> {
    let stamp = workspace.stamp(&format!("build-{}", profile.directory()));
    // Taken first: a file that changes during the build makes the next one look again.
    let sources = fingerprint::of_sources(workspace, ready)?;
    stamp::forget(&stamp)?;
    build_object(workspace, ready, voice)?;
    build_tool(workspace, profile, voice)?;
    let tool = workspace.tool(profile);
    stamp::write(&stamp, &(sources + &fingerprint::of_products(workspace, profile)?))?;
    Ok(tool)
}

/// Like [`build`], but does not even start cargo if nothing changed since the last build.
pub fn build_if_changed(workspace: &Workspace, ready: &Ready, profile: Profile) -> Result<PathBuf> {
    let stamp = workspace.stamp(&format!("build-{}", profile.directory()));
    if let Some(built) = stamp::read(&stamp)
        && let Ok(products) = fingerprint::of_products(workspace, profile)
        && built == fingerprint::of_sources(workspace, ready)? + &products
    {
        return Ok(workspace.tool(profile));
    }
    build(workspace, ready, profile, Voice::Brief)
}

/// Builds the eBPF object and puts it where the tool's build script looks for it.
pub fn build_object(workspace: &Workspace, ready: &Ready, voice: Voice) -> Result<()> {
    if voice == Voice::Brief {
        say(&format!("building the eBPF programs with {}", ready.toolchain));
    }
    let target = workspace.bpf_target();
    let mut build = cargo::cargo(workspace);
    build.args(["build", "--package", "tracer-ebpf", "--release", "--target-dir"]).arg(&target);
    if voice == Voice::Brief {
        build.arg("--quiet");
    }
    ready.configure(&mut build);
    command::run(&mut build)?;
    let built = target.join(crate::toolchain::BPF_TARGET).join("release");
    install(&built.join("floor"), &workspace.floor_object())?;
    install(&built.join("tracer-ebpf"), &workspace.ebpf_object())
}

fn install(built: &Path, to: &Path) -> Result<()> {
    let object =
        fs::read(built).with_context(|| format!("the build left no {}", built.display()))?;
    let stripped =
        without_dwarf(&object).with_context(|| format!("{} is no eBPF object", built.display()))?;
    write_if_changed(&stripped, to)
}

/// An eBPF object without DWARF, out of which the linker has made BTF, and without relocations of BTF, which are of no
/// use to a loader: nearly nine tenths of it, which the loader would go through each time.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in builder.sections.iter_mut() {
        let name: &[u8] = &section.name;
        section.delete =
            [&b".debug_"[..], b".rel.debug_", b".rel.BTF"].iter().any(|it| name.starts_with(it));
    }
    builder.delete_orphans();
    // The linker has the names of sections among the others; they are written into a section of their own.
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

fn build_tool(workspace: &Workspace, profile: Profile, voice: Voice) -> Result<()> {
    if voice == Voice::Brief {
        say("building the tool (the first time takes a few minutes)");
    }
    let mut build = cargo::cargo(workspace);
    build.args(["build", "--package", "tracer"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    if voice == Voice::Brief {
        build.arg("--quiet");
    }
    command::run(build.env(OBJECT_VARIABLE, workspace.ebpf_object()))
}

/// Writes a file unless it has this content: its time of modification is what makes cargo rebuild the tool.
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

    #[test]
    fn an_unchanged_copy_keeps_its_time_of_modification() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("deeper/to");
        write_if_changed(b"one", &to).unwrap();
        let first = stamp::identity(&to).unwrap();
        write_if_changed(b"one", &to).unwrap();
        assert_eq!(stamp::identity(&to).unwrap(), first);
        write_if_changed(b"other", &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"other");
    }
}
