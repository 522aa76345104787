//! Recorded sessions: replayed, cut, damaged and forged.

mod golden;
mod odd;
mod round_trip;

use std::{fs, path::PathBuf};

use super::{ReadError, Recording, read};

/// A session in `tests/sessions`.
fn session(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions"));
    fs::read(folder.join(format!("{name}.session"))).unwrap()
}

fn replayed(bytes: &[u8]) -> Result<Recording, ReadError> {
    read(bytes, u64::MAX)
}
