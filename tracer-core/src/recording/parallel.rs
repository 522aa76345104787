//! Parses lines of a recording on all CPUs while earlier lines are applied. For a session with tens of thousands of
//! processes, parsing is nearly all of the work.

use std::{
    io::{self, BufRead},
    thread::Scope,
};

use super::{
    LINE_LIMIT,
    parse::{self, Parsed},
    read::too_long,
};
use crate::{
    parallel::InOrder,
    text::bounded_line::{self, Ending},
};

/// Size of a block in bytes; it ends with the next line. Smaller blocks cost more synchronization, larger ones more
/// memory: the text, and about four times as much for the parsed lines.
const BLOCK: usize = 1 << 20;
/// Maximal number of lines of one block: a parsed line of two bytes takes hundreds.
const BLOCK_LINES: usize = 8 << 10;

/// One parsed line.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The line, or an error.
    pub(super) parsed: Result<Parsed, String>,
    /// How it ended.
    pub(super) ending: Ending,
    /// Its length in bytes.
    pub(super) length: usize,
}

/// Consecutive lines.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    /// End of each line in the text, and how it ended.
    ends: Vec<(usize, Ending)>,
}

type Parse = fn(Block) -> Vec<Outcome>;

/// The lines of an input, in order.
pub(super) struct Lines<'s, 'e, I> {
    input: I,
    parsed: InOrder<'s, 'e, Block, Vec<Outcome>, Parse>,
    has_ended: bool,
}

impl<'s, 'e, I: BufRead> Lines<'s, 'e, I> {
    /// Reads nothing yet.
    pub(super) fn new(scope: &'s Scope<'s, 'e>, input: I) -> Self {
        let parse: Parse = |block| block.parse();
        Self { input, parsed: InOrder::new(scope, parse), has_ended: false }
    }

    /// The next lines; none at the end of the input.
    ///
    /// # Errors
    /// Errors of the reader.
    pub(super) fn next(&mut self) -> io::Result<Vec<Outcome>> {
        while !self.has_ended && self.parsed.has_room() {
            self.read_ahead()?;
        }
        Ok(self.parsed.take().unwrap_or_default())
    }

    fn read_ahead(&mut self) -> io::Result<()> {
        let block = Block::read(&mut self.input)?;
        let last = block.ends.last().map_or(Ending::Nothing, |(_, ending)| *ending);
        // Nothing can be read after an endless line.
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
                Ending::TooLong | Ending::Endless => Err(too_long()),
                _ => parse::line(text),
            };
            Outcome { parsed, ending: *ending, length: text.len() }
        };
        self.ends.iter().map(outcome).collect()
    }
}
