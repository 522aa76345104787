//! Attaches the benchmark's floor and keeps it attached until stdin ends: `floor OBJECT`.
//!
//! Debian's bpftool learnt to attach such a program only after 7.1, so this does it.

use std::io::{self, Read as _};

use anyhow::{Context, Result};
use aya::{Btf, Ebpf, programs::BtfTracePoint};

/// The program in the object.
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
