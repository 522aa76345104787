//! Lines of a recording, parsed on all CPUs while the lines before them are taken in: of a session with tens
//! of thousands of processes that is nearly all of the work.

use std::{
    io::{self, BufRead},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, Scope},
};

use super::{
    LINE_LIMIT,
    parse::{self, Parsed},
};
use crate::bounded_line::{self, Ending};

/// Bytes of one block, after which the line is ended. Smaller ones cost more waiting for each other, larger
/// ones more memory.
const BLOCK: usize = 1 << 20;
/// Blocks that one parser has before it or behind it. With the one that is taken in, this bounds the memory:
/// the text of a block, and some four times as much for what its lines say.
const AHEAD: usize = 2;
/// Lines of one block, after which it is ended as well: what a line of two bytes says takes hundreds.
const BLOCK_LINES: usize = 8 << 10;
/// Parsers at the same time: one line of a made-up file can say ten times its length.
const MOST_PARSERS: usize = 8;

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

/// A thread that parses what it is given, in that order.
struct Parser {
    blocks: SyncSender<Block>,
    lines: Receiver<Vec<Outcome>>,
}

impl Parser {
    fn start<'s>(scope: &'s Scope<'s, '_>) -> Self {
        let (blocks, given) = sync_channel::<Block>(AHEAD);
        let (parsed, lines) = sync_channel(AHEAD);
        scope.spawn(move || {
            // Ends when there are no more blocks, or nobody wants their lines.
            given.iter().map(|block| block.parse()).try_for_each(|lines| parsed.send(lines))
        });
        Self { blocks, lines }
    }
}

/// The lines of an input in their order.
pub(super) struct Lines<'s, 'e, I> {
    scope: &'s Scope<'s, 'e>,
    input: I,
    /// They take turns; started when there is something for them to do.
    parsers: Vec<Parser>,
    most: usize,
    /// Blocks read, and blocks whose lines were handed out.
    read: usize,
    done: usize,
    has_ended: bool,
}

impl<'s, 'e, I: BufRead> Lines<'s, 'e, I> {
    /// Nothing is read yet.
    pub(super) fn new(scope: &'s Scope<'s, 'e>, input: I) -> Self {
        let most = thread::available_parallelism().map_or(1, usize::from).min(MOST_PARSERS);
        Self { scope, input, parsers: Vec::new(), most, read: 0, done: 0, has_ended: false }
    }

    /// The next lines; none at the end of the input.
    ///
    /// # Errors
    /// Those of the reader.
    pub(super) fn next(&mut self) -> io::Result<Vec<Outcome>> {
        while !self.has_ended && self.read - self.done < self.most * AHEAD {
            self.read_ahead()?;
        }
        if self.done == self.read {
            return Ok(Vec::new());
        }
        let parser = self.parsers.get(self.done % self.most);
        self.done += 1;
        // A parser that is gone has panicked, and so will the scope.
        Ok(parser.and_then(|parser| parser.lines.recv().ok()).unwrap_or_default())
    }

    fn read_ahead(&mut self) -> io::Result<()> {
        let block = Block::read(&mut self.input)?;
        let last = block.ends.last().map_or(Ending::Nothing, |(_, ending)| *ending);
        // Behind a line without an end nothing is to be had.
        self.has_ended = matches!(last, Ending::Nothing | Ending::Endless);
        if last == Ending::Nothing {
            return Ok(());
        }
        if self.parsers.len() < self.most && self.parsers.len() == self.read {
            self.parsers.push(Parser::start(self.scope));
        }
        if let Some(parser) = self.parsers.get(self.read % self.most) {
            // Refused only by one that is gone.
            let _ = parser.blocks.send(block);
        }
        self.read += 1;
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
