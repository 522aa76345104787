//! Reads an index. The file is untrusted: it may be cut, damaged or made up.

use std::io::{self, BufRead};

use serde_json::Value;

use super::{Head, Line};
use crate::{
    capture::SCHEMA,
    text::bounded_line::{self, Ending},
};

/// Maximal length of a line. The longest line that tracer writes holds one path.
pub const LINE_LIMIT: usize = 64 << 10;
/// Maximal sum of all byte counts in one index, 64 PiB, so that no sum overflows.
const AMOUNTS: u64 = 1 << 56;
/// Values of `type` that this version knows.
const TYPES: [&str; 5] = ["capture", "stream", "write", "gap", "end"];

/// Why a file is not an index.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Another file, or an index that was cut in its first line.
    #[error("its index has no first line; `tracer --capture DIR` makes one")]
    NotAnIndex,
    /// A schema version that this tracer does not know.
    #[error(
        "it was captured by tracer {tracer} as {schema}, and this tracer reads {SCHEMA}: use that version"
    )]
    OtherSchema {
        /// Its schema.
        schema: String,
        /// Version of the tracer that captured.
        tracer: String,
    },
    /// An error of the system.
    #[error("its index cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Iterates over the lines after the first one; holds one line in memory.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    head: Head,
    line: Vec<u8>,
    amounts: u64,
    damaged: u64,
    is_cut: bool,
    error: Option<io::Error>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`ReadError`]; errors after the first line are not fatal.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut line = Vec::new();
        bounded_line::next(&mut input, &mut line, LINE_LIMIT)?;
        let value: Value = serde_json::from_slice(&line).map_err(|_| ReadError::NotAnIndex)?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let schema = text("schema");
        if text("type") != "capture" || !schema.starts_with("tracer.capture/") {
            return Err(ReadError::NotAnIndex);
        }
        if schema != SCHEMA {
            let (schema, tracer) = (schema.to_owned(), text("tracer").to_owned());
            return Err(ReadError::OtherSchema { schema, tracer });
        }
        let Ok(Line::Capture(head)) = serde_json::from_value(value) else {
            return Err(ReadError::NotAnIndex);
        };
        Ok(Self { input, head, line, amounts: 0, damaged: 0, is_cut: false, error: None })
    }

    /// The first line.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Number of lines so far that could not be read.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Whether the last line was cut, as in the folder of a killed run.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The error that ended the iteration before the end of the file.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Parses `self.line`; `None` for a line that is skipped.
    fn parse(&mut self, is_whole: bool) -> Option<Line> {
        match serde_json::from_slice(&self.line) {
            Ok(line) if self.admit(&line) => return Some(line),
            Err(_) if !is_whole => self.is_cut = true,
            // A later version may write types of lines that this one does not know.
            Err(_) if has_unknown_type(&self.line) => {}
            _ => self.damaged += 1,
        }
        None
    }

    /// Adds the byte counts of a line, unless their sum exceeds [`AMOUNTS`]; returns whether it did.
    fn admit(&mut self, line: &Line) -> bool {
        let amounts = match line {
            Line::Capture(_) | Line::Stream(_) => [0; 4],
            Line::Write(write) => [write.offset, write.length, 0, 0],
            Line::Gap(gap) => [gap.offset, gap.length, 0, 0],
            Line::End(total) => [total.written, total.kept, total.cut, total.missing],
        };
        let [first, rest @ ..] = amounts;
        let sum = rest.into_iter().fold(self.amounts, u64::saturating_add);
        let is_real = first <= AMOUNTS && sum <= AMOUNTS;
        if is_real {
            self.amounts = sum;
        }
        is_real
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        while self.error.is_none() {
            match bounded_line::next(&mut self.input, &mut self.line, LINE_LIMIT) {
                Ok(Ending::Nothing) => return None,
                Ok(Ending::TooLong) => self.damaged += 1,
                Ok(Ending::Endless) => {
                    let endless = "it holds a line that does not end";
                    self.error = Some(io::Error::new(io::ErrorKind::InvalidData, endless));
                }
                Ok(ending) => {
                    if let Some(line) = self.parse(ending == Ending::Newline) {
                        return Some(line);
                    }
                }
                Err(error) => self.error = Some(error),
            }
        }
        None
    }
}

fn has_unknown_type(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line)
        .ok()
        .and_then(|value| value.get("type")?.as_str().map(|kind| !TYPES.contains(&kind)))
        .unwrap_or(false)
}
