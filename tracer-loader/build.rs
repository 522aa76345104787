//! Embeds the eBPF object that `cargo xtask build` made, and counts the markers in it that the loader has to replace.
//!
//! Without `TRACER_EBPF_OBJECT` the crate still builds, so that `cargo test` works in a fresh clone on a machine
//! without a BPF compiler. Such a binary reports the missing object when it is asked to trace.

use std::{env, error::Error, fs, path::PathBuf};

use object::{
    LittleEndian, Object as _, ObjectSection as _, SectionKind, elf::FileHeader64,
    read::elf::ElfFile,
};
use tracer_common::offsets::{marker, settings};

const OBJECT: &str = "TRACER_EBPF_OBJECT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed={OBJECT}");
    let mut object = Vec::new();
    if let Some(path) = env::var_os(OBJECT).filter(|path| !path.is_empty()).map(PathBuf::from) {
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
