//! Builds the binary that users download: static, optimised across crates, without symbols.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use object::Object as _;

use super::{OBJECT_VARIABLE, Verbosity, build_object};
use crate::{cargo, command, setup::Ready, workspace::Workspace};

/// The profile in Cargo.toml.
pub const PROFILE: &str = "dist";
/// The programs. The second is what `tracer export` starts, from its own folder.
pub const PROGRAMS: [&str; 2] = ["tracer", "tracer-export"];
/// Bytes of the largest binary that is accepted.
const LIMIT: usize = 25_000_000;

/// How much the compiler does for speed and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// As for users.
    Full,
    /// Without optimisation across crates, which takes some minutes: to try whether packages work.
    Short,
}

impl Effort {
    /// Values of the profile that differ from Cargo.toml.
    const fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Full => &[],
            Self::Short => {
                &[("CARGO_PROFILE_DIST_LTO", "off"), ("CARGO_PROFILE_DIST_CODEGEN_UNITS", "16")]
            }
        }
    }
}

/// Builds the binaries, separates their debug information, and checks them. Returns the path of tracer; the other is in the
/// same folder.
///
/// # Errors
///
/// The build fails, or a binary is too large, has symbols, needs shared libraries, does not start, or is tracer without an
/// eBPF object.
pub fn build(workspace: &Workspace, ready: &Ready, effort: Effort) -> Result<PathBuf> {
    build_object(workspace, ready, Verbosity::Full)?;
    let target = target();
    let mut build = cargo::cargo(workspace);
    build
        .args(["build", "--profile", PROFILE, "--target", &target])
        .args(PROGRAMS.iter().flat_map(|program| ["--package", *program]))
        .envs(effort.variables().iter().copied())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace)?)
        .env(OBJECT_VARIABLE, workspace.ebpf_object());
    command::run(&mut build)?;
    let folder = workspace.target().join(PROFILE);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let object = fs::read(workspace.ebpf_object()).context("cannot read the eBPF object")?;
    let [tool, export] = PROGRAMS.map(|program| folder.join(program));
    for (program, object) in [(&tool, Some(&*object)), (&export, None)] {
        separate_debug_info(&products(workspace), program)?;
        check(program, object)
            .with_context(|| format!("{} is not fit for use", program.display()))?;
    }
    Ok(tool)
}

/// The target triple of the binary.
pub fn target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

/// The folder into which cargo builds.
pub fn products(workspace: &Workspace) -> PathBuf {
    workspace.target().join(target()).join(PROFILE)
}

/// Links libc statically, and removes paths of this machine, which would be in panic messages.
fn flags(workspace: &Workspace) -> Result<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        remap(workspace.root(), "tracer"),
        remap(&cargo::home()?, "cargo"),
    ];
    Ok(flags.join("\u{1f}"))
}

/// Writes a binary without symbols, and its debug information beside it, where debuggers find it by its name.
fn separate_debug_info(products: &Path, program: &Path) -> Result<()> {
    let (folder, name) = (program.parent(), program.file_name());
    let (folder, name) = folder.zip(name).context("a program without a folder")?;
    let built = products.join(name);
    let debug_info = Path::new(name).with_extension("debug");
    let mut keep = Command::new("objcopy");
    keep.args(["--only-keep-debug", "--compress-debug-sections"]).arg(&built).arg(&debug_info);
    command::run(keep.current_dir(folder))?;
    let mut strip = Command::new("objcopy");
    strip.arg("--strip-all").arg(format!("--add-gnu-debuglink={}", debug_info.display()));
    command::run(strip.arg(&built).arg(name).current_dir(folder))
}

/// Fails unless the binary can be given to users.
fn check(tool: &Path, ebpf_object: Option<&[u8]>) -> Result<()> {
    let binary = fs::read(tool).with_context(|| format!("cannot read {}", tool.display()))?;
    let size = binary.len();
    ensure!(size <= LIMIT, "it has {size} bytes; the limit is {LIMIT}");
    let elf = object::File::parse(&*binary).context("it is no ELF file")?;
    let has = |section| elf.section_by_name(section).is_some();
    ensure!(!has(".interp"), "it is linked to shared libraries");
    ensure!(!has(".symtab") && !has(".debug_info"), "it has symbols or debug information");
    let has_part = |part: &[u8]| binary.windows(part.len()).any(|found| found == part);
    ensure!(ebpf_object.is_none_or(has_part), "the eBPF object is not embedded");
    command::capture(Command::new(tool).arg("--version").env_clear()).map(drop)
}

#[cfg(test)]
mod tests {
    use object::{
        Endianness,
        build::elf::{Builder, SectionData},
        elf::{SHT_PROGBITS, SHT_STRTAB},
    };

    use super::*;

    /// Why an ELF file of one section is refused.
    fn fault(section: &'static str, content: &[u8]) -> String {
        let mut elf = Builder::new(Endianness::Little, true);
        let names = elf.sections.add();
        (names.name, names.sh_type) = (b".shstrtab"[..].into(), SHT_STRTAB);
        names.data = SectionData::SectionString;
        let added = elf.sections.add();
        (added.name, added.sh_type) = (section.into(), SHT_PROGBITS);
        added.data = SectionData::Data(content.into());
        let mut bytes = Vec::new();
        elf.write(&mut bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tracer");
        fs::write(&tool, bytes).unwrap();
        format!("{:#}", check(&tool, Some(b"eBPF object")).unwrap_err())
    }

    #[test]
    fn a_binary_that_users_should_not_get_is_refused() {
        let refused = [
            (fault(".text", &vec![0; LIMIT + 1]), "the limit is 25000000"),
            (fault(".interp", b"/lib/ld.so"), "linked to shared libraries"),
            (fault(".debug_info", b"eBPF object"), "has symbols or debug information"),
            (fault(".rodata", b"another object"), "the eBPF object is not embedded"),
            // Not executable.
            (fault(".rodata", b"an eBPF object"), "cannot start `tracer --version`"),
        ];
        for (fault, expected) in refused {
            assert!(fault.contains(expected), "{fault}: not {expected}");
        }
    }
}
