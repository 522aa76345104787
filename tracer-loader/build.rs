//! Embeds the eBPF object that `cargo xtask build` made.
//!
//! Without `TRACER_EBPF_OBJECT` the crate still builds, so that `cargo test` works in a fresh clone
//! on a machine without a BPF compiler; such a binary says so when it is asked to trace.

use std::{env, fs, path::PathBuf};

const OBJECT: &str = "TRACER_EBPF_OBJECT";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed={OBJECT}");
    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("tracer.o");
    match env::var_os(OBJECT).filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            fs::copy(&path, &embedded)
                .map_err(|source| format!("{OBJECT}={}: {source}", path.display()))?;
        }
        None => fs::write(&embedded, [])?,
    }
    Ok(())
}
