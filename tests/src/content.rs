//! Position-dependent test data: a missing, moved or repeated piece changes the content.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in a word, which is generated as a unit.
const WORD: u64 = 8;

/// `length` bytes of the infinite text with this seed, starting at `position`.
pub fn bytes(seed: u64, position: u64, length: usize) -> Vec<u8> {
    let first = position / WORD;
    let skipped = (position % WORD) as usize;
    let words = (skipped + length).div_ceil(WORD as usize) as u64;
    let mut bytes: Vec<u8> =
        (first..first + words).flat_map(|index| letters(word(seed, index))).collect();
    bytes.drain(..skipped);
    bytes.truncate(length);
    bytes
}

/// The next `size` bytes of this process's data, of which it never gets a part twice. They are never
/// freed: after `vmsplice` a pipe refers to these pages until they are read.
pub fn fresh(size: usize) -> &'static [u8] {
    static POSITION: AtomicU64 = AtomicU64::new(0);
    let position = POSITION.fetch_add(size as u64, Ordering::Relaxed);
    bytes(u64::from(std::process::id()), position, size).leak()
}

/// A word as printable ASCII, so that it can be shown next to a report.
fn letters(word: u64) -> [u8; WORD as usize] {
    word.to_le_bytes().map(|byte| b'!' + byte % 94)
}

/// The finalizer of splitmix64, a bijection: different indexes give different words.
fn word(seed: u64, index: u64) -> u64 {
    let mut word = seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ index;
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9_u64), (27, 0x94d0_49bb_1331_11eb)] {
        word = (word ^ (word >> shift)).wrapping_mul(factor);
    }
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_a_slice_of_the_whole_text() {
        let whole = bytes(7, 0, 100);
        for (start, length) in [(0, 100), (3, 2), (7, 9), (8, 8), (99, 1), (5, 0)] {
            assert_eq!(bytes(7, start as u64, length), whole[start..start + length]);
        }
        assert_ne!(bytes(8, 0, 100), whole);
    }
}
