//! Attaches the benchmark's floor program and keeps it attached until stdin ends: `floor OBJECT`.
//!
//! bpftool up to 7.1, which Debian has, cannot attach a program of this type.

use std::io::{self, Read as _};

use anyhow::{Context, Result};
use aya::{Btf, Ebpf, programs::BtfTracePoint};

/// Name of the program in the object.
const PROGRAM: &str = "floor";

fn main() -> Result<()> {
    let object = std::env::args().nth(1).context("usage: floor OBJECT")?;
    let mut ebpf =
        Ebpf::load_file(&object).with_context(|| format!("the kernel refuses {object}"))?;
    let program: &mut BtfTracePoint = ebpf
        .program_mut(PROGRAM)
        .with_context(|| format!("{object} has no {PROGRAM}"))?
        .try_into()?;
    program.load("sys_exit", &Btf::from_sys_fs()?)?;
    program.attach()?;
    eprintln!("floor: attached");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
