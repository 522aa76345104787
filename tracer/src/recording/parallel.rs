//! Lines of a recording, parsed on all CPUs: of a session with tens of thousands of processes they are
//! nearly all of the work.

use std::{
    io::{self, BufRead},
    panic::resume_unwind,
    thread,
};

use super::{
    LINE_LIMIT,
    parse::{self, Parsed},
};
use crate::bounded_line::{self, Ending};

/// Bytes of one block, after which the line is ended. One for each CPU is held, and some four times as much
/// for what its lines say; smaller ones make a busy machine wait for its slowest thread more often.
const BLOCK: usize = 2 << 20;

/// What a line said, or what is wrong with it, and how it ended.
pub(super) type Outcome = (Result<Parsed, String>, Ending);

/// Some lines behind one another.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    /// Where each line ends in the text, and how it ended.
    ends: Vec<(usize, Ending)>,
}

/// The next lines in their order; none at the end of the input.
///
/// # Errors
/// Those of the reader.
pub(super) fn next(input: &mut impl BufRead) -> io::Result<Vec<Outcome>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut blocks = Vec::new();
    while blocks.len() < threads {
        let block = Block::read(input)?;
        if block.ends.is_empty() {
            break;
        }
        blocks.push(block);
    }
    let Some((first, others)) = blocks.split_first() else { return Ok(Vec::new()) };
    Ok(thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|block| scope.spawn(|| block.parse())).collect();
        let mut lines = first.parse();
        for other in others {
            lines.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        lines
    }))
}

impl Block {
    fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let (mut block, mut line) = (Self::default(), Vec::new());
        while block.text.len() < BLOCK {
            let ending = bounded_line::next(input, &mut line, LINE_LIMIT)?;
            if ending == Ending::Nothing {
                break;
            }
            block.text.extend_from_slice(&line);
            block.ends.push((block.text.len(), ending));
        }
        Ok(block)
    }

    fn parse(&self) -> Vec<Outcome> {
        let mut start = 0;
        let outcome = |(end, ending): &(usize, Ending)| {
            let text = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            let parsed = match ending {
                Ending::TooLong => Err(format!("it is longer than {LINE_LIMIT} B")),
                _ => parse::line(text),
            };
            (parsed, *ending)
        };
        self.ends.iter().map(outcome).collect()
    }
}
