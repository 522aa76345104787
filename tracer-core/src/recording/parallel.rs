//! Lines of a recording, parsed on all CPUs while the lines before them are taken in: of a session with tens
//! of thousands of processes that is nearly all of the work.

use std::{
    io::{self, BufRead},
    thread::Scope,
};

use super::{
    LINE_LIMIT,
    parse::{self, Parsed},
};
use crate::{
    parallel::InOrder,
    text::bounded_line::{self, Ending},
};

/// Bytes of one block, after which the line is ended. Smaller ones cost more waiting for each other, larger
/// ones more memory: the text itself, and some four times as much for what its lines say.
const BLOCK: usize = 1 << 20;
/// Lines of one block, after which it is ended as well: what a line of two bytes says takes hundreds.
const BLOCK_LINES: usize = 8 << 10;

/// One line.
pub(super) struct Outcome {
    /// What it said, or what is wrong with it.
    pub(super) parsed: Result<Parsed, String>,
    /// How it ended.
    pub(super) ending: Ending,
    /// Its bytes.
    pub(super) length: usize,
}

/// Some lines behind one another.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    /// Where each line ends in the text, and how it ended.
    ends: Vec<(usize, Ending)>,
}

type Parse = fn(Block) -> Vec<Outcome>;

/// The lines of an input in their order.
pub(super) struct Lines<'s, 'e, I> {
    input: I,
    parsed: InOrder<'s, 'e, Block, Vec<Outcome>, Parse>,
    has_ended: bool,
}

impl<'s, 'e, I: BufRead> Lines<'s, 'e, I> {
    /// Nothing is read yet.
    pub(super) fn new(scope: &'s Scope<'s, 'e>, input: I) -> Self {
        let parse: Parse = |block| block.parse();
        Self { input, parsed: InOrder::new(scope, parse), has_ended: false }
    }

    /// The next lines; none at the end of the input.
    ///
    /// # Errors
    /// Those of the reader.
    pub(super) fn next(&mut self) -> io::Result<Vec<Outcome>> {
        while !self.has_ended && self.parsed.has_room() {
            self.read_ahead()?;
        }
        Ok(self.parsed.take().unwrap_or_default())
    }

    fn read_ahead(&mut self) -> io::Result<()> {
        let block = Block::read(&mut self.input)?;
        let last = block.ends.last().map_or(Ending::Nothing, |(_, ending)| *ending);
        // Behind a line without an end nothing is to be had.
        self.has_ended = matches!(last, Ending::Nothing | Ending::Endless);
        if last != Ending::Nothing {
            self.parsed.give(block);
        }
        Ok(())
    }
}

impl Block {
    fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let (mut block, mut line) = (Self::default(), Vec::new());
        while block.text.len() < BLOCK && block.ends.len() < BLOCK_LINES {
            let ending = bounded_line::next(input, &mut line, LINE_LIMIT)?;
            if ending == Ending::Nothing {
                break;
            }
            block.text.extend_from_slice(&line);
            block.ends.push((block.text.len(), ending));
            if ending == Ending::Endless {
                break;
            }
        }
        Ok(block)
    }

    fn parse(&self) -> Vec<Outcome> {
        let mut start = 0;
        let outcome = |(end, ending): &(usize, Ending)| {
            let text = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            let parsed = match ending {
                Ending::TooLong | Ending::Endless => {
                    Err(format!("it is longer than {LINE_LIMIT} B"))
                }
                _ => parse::line(text),
            };
            Outcome { parsed, ending: *ending, length: text.len() }
        };
        self.ends.iter().map(outcome).collect()
    }
}
