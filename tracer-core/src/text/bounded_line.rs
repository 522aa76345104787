//! Reads lines of an untrusted file: one line in memory at a time, and none longer than a limit.

use std::io::{self, BufRead, Read as _};

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There was no line.
    Nothing,
    /// With a line feed.
    Newline,
    /// Without a line feed, at the end of the file.
    EndOfFile,
    /// It was longer than the limit and was skipped.
    TooLong,
    /// It is so long that this is not a file of lines; nothing is read after it.
    Endless,
}

/// Maximal number of bytes that are skipped: `/dev/zero` is one endless line.
const MAX_SKIPPED: u64 = 1 << 30;

/// Reads the next line, its line feed included, of at most `limit` bytes into `line`.
pub(crate) fn next(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    limit: usize,
) -> io::Result<Ending> {
    line.clear();
    input.by_ref().take(limit as u64 + 1).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        return Ok(Ending::Newline);
    }
    if line.is_empty() {
        return Ok(Ending::Nothing);
    }
    if line.len() <= limit {
        return Ok(Ending::EndOfFile);
    }
    line.clear();
    skip(input)
}

/// Skips the rest of a line.
fn skip(input: &mut impl BufRead) -> io::Result<Ending> {
    let mut rest = input.by_ref().take(MAX_SKIPPED);
    rest.skip_until(b'\n')?;
    Ok(if rest.limit() == 0 { Ending::Endless } else { Ending::TooLong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_an_endless_line() {
        let mut input = io::BufReader::with_capacity(1 << 20, io::repeat(b'x'));
        assert_eq!(next(&mut input, &mut Vec::new(), 4).unwrap(), Ending::Endless);
    }

    #[test]
    fn only_the_line_that_is_too_long_is_skipped() {
        let mut input: &[u8] = b"abc\nabcdefgh\nend";
        let mut line = Vec::new();
        let mut next = || (next(&mut input, &mut line, 4).unwrap(), line.clone());
        assert_eq!(next(), (Ending::Newline, b"abc\n".to_vec()));
        assert_eq!(next(), (Ending::TooLong, Vec::new()));
        assert_eq!(next(), (Ending::EndOfFile, b"end".to_vec()));
        assert_eq!(next().0, Ending::Nothing);
    }
}
