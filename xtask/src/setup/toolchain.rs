//! Selects the compiler of the eBPF programs.
//!
//! The compiler must meet two conditions. The BPF target is tier 3, so its `core` is either built from source
//! (`-Z build-std`, needs the component `rust-src`) or precompiled by a distribution. And bpf-linker requires one
//! major version of LLVM, whose library it loads from a Rust compiler: the one that emits the bitcode.

use std::{
    env, fmt, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cargo, command};

/// The target triple of the eBPF programs.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";
/// The major version of LLVM that [`super::cargo_tool::BPF_LINKER`] requires.
pub(crate) const LLVM_MAJOR: u32 = 22;
/// Debian's packages with a compiler and a precompiled `core` for the BPF target.
pub(crate) const DEBIAN_PACKAGES: [&str; 2] = [DEBIAN_RUSTC, "libstd-rust-web-dev-bpf"];
/// The package with the compiler itself.
pub const DEBIAN_RUSTC: &str = "rustc-web";

/// The name of the link to the compiler's LLVM, which bpf-linker loads.
pub(crate) const LLVM_LINK: &str = "libLLVM.so";

/// The path of the compiler in those packages.
pub const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";

/// The origin of `core` for the BPF target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// Compiled by the distribution.
    Precompiled,
    /// Compiled by each build, with `-Z build-std`.
    FromSource,
}

/// A compiler that can build the eBPF programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BpfToolchain {
    /// The compiler's absolute path.
    pub(crate) rustc: PathBuf,
    /// The origin of its `core`.
    pub(crate) core: Core,
    /// A file or directory without which `core` is not available.
    pub(crate) core_path: PathBuf,
    /// Its LLVM, as a shared library.
    pub(crate) llvm: PathBuf,
    /// Its version.
    pub(crate) version: RustcVersion,
}

/// Parts of the output of `rustc -vV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RustcVersion {
    /// `1.96.0`
    pub(crate) release: String,
    /// `22` of `LLVM version: 22.1.8`
    pub(crate) llvm_major: u32,
}

/// The result of a search.
#[derive(Default)]
pub(crate) struct Search {
    /// The compiler to use.
    pub(crate) found: Option<BpfToolchain>,
    /// Compilers that have `core` for BPF but cannot be used, with the reason.
    pub(crate) refused: Vec<String>,
}

impl BpfToolchain {
    /// Makes a cargo command build for the BPF target. bpf-linker is `linker` and finds LLVM in `llvm_dir`. The
    /// programs read registers in the layout of `architecture`.
    pub(crate) fn configure(
        &self,
        cargo: &mut Command,
        architecture: &str,
        linker: &Path,
        llvm_dir: &Path,
    ) {
        cargo::forget_host_compiler(cargo);
        cargo.args(["--target", BPF_TARGET]);
        if self.core == Core::FromSource {
            cargo.args(["-Z", "build-std=core"]);
        }
        // For the feature `asm_experimental_arch` of aya-ebpf, and for `-Z` with a stable cargo.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &self.rustc);
        let flags = [
            "-Cdebuginfo=2".to_owned(), // the linker converts it to BTF
            "-Clink-arg=--btf".to_owned(),
            format!("--cfg=bpf_target_arch=\"{architecture}\""),
            format!("-Clinker={}", linker.display()),
        ];
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        cargo.env("LD_LIBRARY_PATH", llvm_dir);
    }

    /// Links this compiler's LLVM into `dir`. bpf-linker loads the first `libLLVM*` along `LD_LIBRARY_PATH`, and a
    /// system's library directory may have several.
    pub(crate) fn expose_llvm(&self, dir: &Path) -> Result<()> {
        let link = dir.join(LLVM_LINK);
        let made = fs::create_dir_all(dir)
            .and_then(|()| match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
            .and_then(|()| symlink(&self.llvm, &link));
        made.with_context(|| format!("cannot link {} to {}", link.display(), self.llvm.display()))
    }
}

impl fmt::Display for BpfToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.core {
            Core::Precompiled => "precompiled core",
            Core::FromSource => "core from rust-src",
        };
        let RustcVersion { release, llvm_major } = &self.version;
        write!(f, "{} {release} (LLVM {llvm_major}, {core})", self.rustc.display())
    }
}

/// Searches rustup's toolchains, then the distribution's compiler.
pub(crate) fn search() -> Result<Search> {
    let mut search = Search::default();
    for toolchain in rustup_toolchains() {
        let core_path = toolchain.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        search.consider(&toolchain.join("bin/rustc"), Core::FromSource, core_path)?;
    }
    let distribution = Path::new(DISTRIBUTION_RUSTC);
    if search.found.is_none() && command::is_executable(distribution) {
        let sysroot = command::capture(Command::new(distribution).args(["--print", "sysroot"]))?;
        let core_path = Path::new(sysroot.trim()).join("lib/rustlib").join(BPF_TARGET).join("lib");
        search.consider(distribution, Core::Precompiled, core_path)?;
    }
    Ok(search)
}

impl Search {
    fn consider(&mut self, rustc: &Path, core: Core, core_path: PathBuf) -> Result<()> {
        if self.found.is_some() || !core_path.exists() || !command::is_executable(rustc) {
            return Ok(());
        }
        let verbose = command::capture(Command::new(rustc).arg("-vV"))?;
        let version = RustcVersion::parse(&verbose)
            .with_context(|| format!("`{} -vV` names no LLVM version", rustc.display()))?;
        if version.llvm_major != LLVM_MAJOR {
            self.refused.push(format!("{} has LLVM {}", rustc.display(), version.llvm_major));
            return Ok(());
        }
        // cargo's library path would show the libraries of another compiler.
        let mut ldd = Command::new("ldd");
        let libraries = command::capture(ldd.env_remove("LD_LIBRARY_PATH").arg(rustc))?;
        match llvm_library(&libraries) {
            Some(llvm) => {
                let rustc = rustc.to_path_buf();
                self.found = Some(BpfToolchain { rustc, core, core_path, llvm, version });
            }
            None => self.refused.push(format!("{} has LLVM built in", rustc.display())),
        }
        Ok(())
    }

    /// An error message with both ways to install a compiler.
    pub(crate) fn what_is_missing(&self) -> String {
        let refused = if self.refused.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.refused.join(", "))
        };
        format!(
            "no Rust compiler with a shared LLVM {LLVM_MAJOR} and `core` for {BPF_TARGET}{refused}: either \
             install a rustup toolchain of that LLVM with the component rust-src (`rustup \
             toolchain install 1.95.0 --component rust-src`), or Debian's compiler (as root: \
             `apt-get update && apt-get install -y {}`)",
            DEBIAN_PACKAGES.join(" ")
        )
    }
}

impl RustcVersion {
    /// Reads the output of `rustc -vV`.
    pub(crate) fn parse(verbose: &str) -> Option<Self> {
        let field = |name: &str| {
            verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let llvm_major = field("LLVM version")?.split('.').next()?.trim().parse().ok()?;
        Some(Self { release: field("release")?.trim().to_owned(), llvm_major })
    }
}

/// The path of a compiler's LLVM in the output of `ldd`.
fn llvm_library(ldd: &str) -> Option<PathBuf> {
    ldd.lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .find(|(name, _)| name.starts_with("libLLVM"))
        .and_then(|(_, found)| found.split(" (").next())
        .map(PathBuf::from)
        .filter(|path| path.is_absolute()) // else `not found`
}

/// rustup's toolchains, the active one first, then by name.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let Some(dir) = home.map(|home| home.join("toolchains")) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut toolchains: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let active = env::var_os("RUSTUP_TOOLCHAIN");
    toolchains.sort_by_key(|path| (path.file_name() != active.as_deref(), path.clone()));
    toolchains
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
        binary: rustc\ncommit-hash: ac68faa20c58cbccd01ee7208bf3b6e93a7d7f96\n\
        commit-date: 2026-05-25\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n\
        LLVM version: 22.1.8\n";

    #[test]
    fn release_and_llvm_major_are_read_from_the_verbose_version() {
        let version = RustcVersion::parse(DEBIAN).unwrap();
        assert_eq!(version, RustcVersion { release: "1.96.0".into(), llvm_major: 22 });
    }

    #[test]
    fn a_compiler_that_names_no_llvm_is_not_understood() {
        assert_eq!(RustcVersion::parse("release: 1.96.0\nLLVM version: unknown\n"), None);
        assert_eq!(RustcVersion::parse("rustc 1.96.0 (ac68faa20 2026-05-25)\n"), None);
    }

    #[test]
    fn the_compilers_llvm_is_read_from_the_list_of_its_libraries() {
        let ldd = "\tlinux-vdso.so.1 (0x00007f45a6674000)\n\
            \tlibLLVM.so.22.1 => /lib/x86_64-linux-gnu/libLLVM.so.22.1 (0x00007f4597800000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f45a081e000)\n";
        let llvm = PathBuf::from("/lib/x86_64-linux-gnu/libLLVM.so.22.1");
        assert_eq!(llvm_library(ldd), Some(llvm));
        assert_eq!(llvm_library("\tlibLLVM.so.22.1 => not found\n"), None);
        assert_eq!(llvm_library("\tstatically linked\n"), None);
    }

    #[test]
    fn the_error_names_refused_compilers_and_both_ways_to_install_one() {
        let search = Search { found: None, refused: vec!["/usr/bin/rustc has LLVM 19".into()] };
        let message = search.what_is_missing();
        assert!(message.contains("(/usr/bin/rustc has LLVM 19)"), "{message}");
        assert!(message.contains("rust-src") && message.contains("apt-get install"), "{message}");
    }

    #[test]
    fn core_is_built_only_when_no_precompiled_one_is_there() {
        for (core, builds) in [(Core::Precompiled, false), (Core::FromSource, true)] {
            let toolchain = BpfToolchain {
                rustc: "/usr/bin/rustc".into(),
                core,
                core_path: "/usr/lib".into(),
                llvm: "/usr/lib/libLLVM.so.22.1".into(),
                version: RustcVersion::parse(DEBIAN).unwrap(),
            };
            let mut cargo = Command::new("cargo");
            toolchain.configure(&mut cargo, "x86_64", Path::new("/l"), Path::new("/d"));
            assert_eq!(cargo.get_args().any(|arg| arg == "build-std=core"), builds);
        }
    }
}
