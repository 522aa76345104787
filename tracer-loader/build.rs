//! Embeds the eBPF object that `cargo xtask build` made, and counts the markers in it that the loader has to replace.
//!
//! Without `TRACER_EBPF_OBJECT`, an optimised build (`cargo install --path tracer`) takes the object that the last
//! `cargo xtask build` left, unless the sources are newer. Without any object the crate still builds, so that `cargo
//! test` works in a fresh clone on a machine without a BPF compiler. Such a binary reports the missing object when it is
//! asked to trace.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use object::{
    LittleEndian, Object as _, ObjectSection as _, SectionKind, elf::FileHeader64,
    read::elf::ElfFile,
};
use tracer_common::offsets::{marker, settings};

const OBJECT: &str = "TRACER_EBPF_OBJECT";
/// What the object is made from, below the workspace's top.
const SOURCES: [&str; 3] = ["Cargo.lock", "tracer-common/src", "tracer-ebpf/src"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed={OBJECT}");
    let mut object = Vec::new();
    let named = env::var_os(OBJECT).filter(|path| !path.is_empty()).map(PathBuf::from);
    let is_optimised = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if let Some(path) = named.or_else(|| is_optimised.then(left_by_xtask).flatten()) {
        println!("cargo:rerun-if-changed={}", path.display());
        object =
            fs::read(&path).map_err(|error| format!("{OBJECT}={}: {error}", path.display()))?;
    }
    let (constants, casts) = markers(&object)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("tracer.o"), &object)?;
    let markers = format!("Markers {{ constants: {constants:?}, casts: {casts} }}");
    fs::write(out.join("markers.rs"), markers)?;
    Ok(())
}

/// The object of the last `cargo xtask build`. Warns if there is none, or if the sources are newer.
fn left_by_xtask() -> Option<PathBuf> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
    let folder = target.map_or_else(|| root.join("target"), PathBuf::from).join("ebpf");
    // Its time is that at which the build of the object began.
    let begun = folder.join("begun");
    println!("cargo:rerun-if-changed={}", begun.display());
    let begun = fs::metadata(begun).and_then(|file| file.modified());
    let sources = SOURCES.iter().map(|source| root.join(source));
    let changed = sources.map(|source| newest(&source)).collect::<io::Result<Vec<_>>>();
    let fault = match (begun, changed) {
        (Err(_), _) => "was not built",
        (Ok(begun), Ok(changed)) if changed.iter().all(|source| *source <= begun) => {
            return Some(folder.join("tracer.o"));
        }
        _ => "is older than its sources",
    };
    println!(
        "cargo:warning=this tracer can report recordings but cannot trace, because its eBPF object {fault}: run `cargo \
         xtask build` and then this command again"
    );
    None
}

/// When a file, or a file below a folder, was last changed. Cargo runs this script again when it changes.
fn newest(path: &Path) -> io::Result<SystemTime> {
    println!("cargo:rerun-if-changed={}", path.display());
    let meta = fs::metadata(path)?;
    let mut newest = meta.modified()?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(self::newest(&entry?.path())?);
        }
    }
    Ok(newest)
}

/// Counts the markers of each constant in an object, and the markers of calls of `bpf_rdonly_cast`.
///
/// It reads instruction by instruction (`struct bpf_insn`, `include/uapi/linux/bpf.h`) through the sections that hold
/// code. The loader searches the whole file for markers in another way; both must find the same.
fn markers(object: &[u8]) -> Result<([u32; settings::COUNT], u32), Box<dyn Error>> {
    /// `BPF_LD | BPF_DW | BPF_IMM`: the only instruction of 16 bytes.
    const LOAD_WIDE: u8 = 0x18;
    /// `BPF_JMP | BPF_CALL`.
    const CALL: u8 = 0x85;
    let (mut constants, mut casts) = ([0; settings::COUNT], 0);
    if object.is_empty() {
        return Ok((constants, casts));
    }
    let file = ElfFile::<FileHeader64<LittleEndian>>::parse(object)?;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (halves, _) = section.data()?.as_chunks::<8>();
        let mut halves = halves.iter();
        while let Some([code, _, _, _, low @ ..]) = halves.next() {
            let low = u32::from_le_bytes(*low);
            if *code == CALL && low == marker::RDONLY_CAST as u32 {
                casts += 1;
            }
            if *code != LOAD_WIDE {
                continue;
            }
            let [_, _, _, _, high @ ..] = halves.next().ok_or("the code ends in an instruction")?;
            if u64::from(u32::from_le_bytes(*high)) == marker::CONSTANT >> 32 {
                let constant = constants.get_mut(low as usize);
                *constant.ok_or_else(|| format!("the code asks for constant {low}"))? += 1;
            }
        }
    }
    Ok((constants, casts))
}
