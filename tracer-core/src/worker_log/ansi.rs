//! Removes terminal colours (`ESC [ … m`) from a line.

use std::borrow::Cow;

const ESCAPE: u8 = 0x1b;

/// Removes colours from a line that begins with one: only there can they hide a wrapper or a time.
pub(super) fn without_leading(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if text.first() == Some(&ESCAPE) { Cow::Owned(without(&text)) } else { text }
}

/// The line without colours. Other escape sequences stay, so that they fail to parse.
pub(super) fn without(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = colour(rest) {
            rest = after;
        } else {
            plain.push(first);
            rest = tail;
        }
    }
    plain
}

/// The rest after the colour at the beginning of `text`.
fn colour(text: &[u8]) -> Option<&[u8]> {
    let parameters = text.strip_prefix(&[ESCAPE, b'['])?;
    let length = parameters
        .iter()
        .position(|byte| !(byte.is_ascii_digit() || matches!(byte, b';' | b':')))?;
    parameters.get(length..)?.strip_prefix(b"m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_everything_else_stays() {
        assert_eq!(without(b"\x1b[90m3:04PM\x1b[0m DBG\x1b[1;31mx\x1b[m"), b"3:04PM DBGx");
        for kept in [&b"\x1b[2J"[..], b"\x1b[31", b"\x1b", b"\x1b]0;m", b"[31m"] {
            assert_eq!(without(kept), kept);
        }
    }
}
