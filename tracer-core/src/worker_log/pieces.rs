//! Joins lines that a container runtime cut into pieces.

use std::collections::BTreeMap;

use super::{
    MAX_LINE, Stream,
    lines::HEAD,
    wrapper::{Piece, Runtime},
};

/// Incomplete lines. Pieces of two streams alternate, and wrappers nest, so each stream of each wrapper at each depth
/// has its own line.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    held: BTreeMap<(usize, Runtime, bool), Held>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) text: Vec<u8>,
    pub(super) stamp: Option<i64>,
    pub(super) is_too_long: bool,
}

/// State of a line after a piece was added.
#[derive(Debug)]
pub(super) enum Joined {
    /// More pieces must follow.
    Waiting,
    /// The line is complete; the stamp is that of its first piece.
    Whole { text: Vec<u8>, stamp: Option<i64> },
    /// The line is complete and longer than [`MAX_LINE`].
    TooLong { head: Vec<u8> },
}

impl Pieces {
    pub(super) fn join(&mut self, depth: usize, piece: Piece) -> Joined {
        let key = (depth, piece.runtime, piece.stream == Stream::Stdout);
        let line = match self.held.remove(&key) {
            Some(mut line) => {
                line.append(&piece.text);
                line
            }
            None => Held { text: piece.text, stamp: piece.stamp, is_too_long: false },
        };
        if piece.is_continued {
            self.held.insert(key, line);
            Joined::Waiting
        } else if line.is_too_long {
            Joined::TooLong { head: line.text }
        } else {
            Joined::Whole { text: line.text, stamp: line.stamp }
        }
    }

    /// Removes the lines whose last piece is missing.
    pub(super) fn unfinished(&mut self) -> impl Iterator<Item = Held> + use<> {
        std::mem::take(&mut self.held).into_values()
    }
}

impl Held {
    fn append(&mut self, more: &[u8]) {
        if self.is_too_long {
            return;
        }
        self.text.extend_from_slice(more);
        if self.text.len() > MAX_LINE {
            self.is_too_long = true;
            self.text.truncate(HEAD);
            self.text.shrink_to_fit();
        }
    }
}
