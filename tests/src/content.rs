//! Bytes that tell where they belong: a piece that is missing, moved or doubled shows.

/// Bytes of one word.
const WORD: u64 = 8;

/// `length` bytes of the endless text `seed`, from `position` on.
pub fn bytes(seed: u64, position: u64, length: usize) -> Vec<u8> {
    let first = position / WORD;
    let skipped = (position % WORD) as usize;
    let words = (skipped + length).div_ceil(WORD as usize) as u64;
    let mut bytes: Vec<u8> =
        (first..first + words).flat_map(|place| letters(word(seed, place))).collect();
    bytes.drain(..skipped);
    bytes.truncate(length);
    bytes
}

/// A word as text, so that it can stand beside a report.
fn letters(word: u64) -> [u8; WORD as usize] {
    word.to_le_bytes().map(|byte| b'!' + byte % 94)
}

/// The finisher of splitmix64: every place has a word of its own.
fn word(seed: u64, place: u64) -> u64 {
    let mut word = seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ place;
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9_u64), (27, 0x94d0_49bb_1331_11eb)] {
        word = (word ^ (word >> shift)).wrapping_mul(factor);
    }
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole() {
        let whole = bytes(7, 0, 100);
        for (start, length) in [(0, 100), (3, 2), (7, 9), (8, 8), (99, 1), (5, 0)] {
            assert_eq!(bytes(7, start as u64, length), whole[start..start + length]);
        }
        assert_ne!(bytes(8, 0, 100), whole);
    }
}
