//! Decodes one complete HTTP/1.1 response whose connection the server has closed.
//!
//! Enough of RFC 9112 for an engine's socket: no redirects, no keep-alive, no compression.

use thiserror::Error;

/// A response with its transfer coding taken off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Why bytes are not a response.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum HttpError {
    #[error("the header does not end")]
    NoHeaderEnd,
    #[error("the status line is malformed")]
    StatusLine,
    #[error("a header line is malformed")]
    HeaderLine,
    #[error("a chunk is malformed")]
    Chunk,
    #[error("the connection closed in the middle of the body")]
    Truncated,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy)]
enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

/// Decodes everything that a server sent until it closed the connection.
pub(crate) fn decode(bytes: &[u8]) -> Result<Response, HttpError> {
    let (header, body) = split_once(bytes, b"\r\n\r\n").ok_or(HttpError::NoHeaderEnd)?;
    let header = std::str::from_utf8(header).map_err(|_| HttpError::HeaderLine)?;
    let mut lines = header.split("\r\n");
    let status = parse_status(lines.next().unwrap_or_default())?;
    let body = match find_framing(lines)? {
        Framing::Chunked => join_chunks(body)?,
        Framing::Length(length) => body.get(..length).ok_or(HttpError::Truncated)?.to_vec(),
        Framing::UntilClose => body.to_vec(),
    };
    Ok(Response { status, body })
}

fn parse_status(line: &str) -> Result<u16, HttpError> {
    let rest = line.strip_prefix("HTTP/1.").ok_or(HttpError::StatusLine)?;
    let code = rest.split(' ').nth(1).filter(|code| code.len() == 3);
    code.and_then(|code| code.parse().ok()).ok_or(HttpError::StatusLine)
}

fn find_framing<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Framing, HttpError> {
    let mut framing = Framing::UntilClose;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(HttpError::HeaderLine)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            // A length beside a transfer coding does not count.
            return Ok(Framing::Chunked);
        }
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(|_| HttpError::HeaderLine)?);
        }
    }
    Ok(framing)
}

fn join_chunks(mut rest: &[u8]) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let (line, after) = split_once(rest, b"\r\n").ok_or(HttpError::Truncated)?;
        let size = parse_chunk_size(line)?;
        if size == 0 {
            return Ok(body); // Trailer fields may follow; none means anything here.
        }
        let chunk = after.get(..size).ok_or(HttpError::Truncated)?;
        body.extend_from_slice(chunk);
        let end = after.get(size..).unwrap_or_default();
        rest = match end.strip_prefix(b"\r\n") {
            Some(rest) => rest,
            None if end.len() < 2 => return Err(HttpError::Truncated),
            None => return Err(HttpError::Chunk),
        };
    }
}

/// Hexadecimal digits, then optional extensions after a semicolon.
fn parse_chunk_size(line: &[u8]) -> Result<usize, HttpError> {
    let line = std::str::from_utf8(line).map_err(|_| HttpError::Chunk)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    // `from_str_radix` would take a sign.
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(HttpError::Chunk);
    }
    usize::from_str_radix(digits, 16).map_err(|_| HttpError::Chunk)
}

fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(text: &str) -> Result<String, HttpError> {
        decode(text.as_bytes()).map(|response| String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn chunks_are_joined() {
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nContent-Length: 3\r\n\r\n\
            5\r\nhello\r\nA;ext=\"1\"\r\n, \r\nworld!\r\n0\r\nTrailer: x\r\n\r\n";
        assert_eq!(body_of(text).unwrap(), "hello, \r\nworld!");
    }

    #[test]
    fn a_length_ends_the_body() {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi and more";
        let expected = Response { status: 404, body: b"hi".to_vec() };
        assert_eq!(decode(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn without_a_length_the_close_ends_the_body() {
        assert_eq!(body_of("HTTP/1.0 200 OK\r\nServer: x\r\n\r\nall of it").unwrap(), "all of it");
        assert_eq!(body_of("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), "");
    }

    #[test]
    fn a_body_that_stops_early_is_not_taken_for_whole() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for rest in ["", "5", "5\r\nhel", "5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n"] {
            assert_eq!(body_of(&format!("{chunked}{rest}")), Err(HttpError::Truncated), "{rest:?}");
        }
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell";
        assert_eq!(body_of(sized), Err(HttpError::Truncated));
    }

    #[test]
    fn malformed_parts_are_named() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for rest in ["x\r\n", "-1\r\n", "+1\r\nab", "\r\n", "1\r\nabcd", "fffffffffffffffff\r\n"] {
            assert_eq!(body_of(&format!("{chunked}{rest}")), Err(HttpError::Chunk), "{rest:?}");
        }
        assert_eq!(body_of("SSH-2.0-OpenSSH\r\n\r\n"), Err(HttpError::StatusLine));
        assert_eq!(body_of("HTTP/1.1 2 OK\r\n\r\n"), Err(HttpError::StatusLine));
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), Err(HttpError::HeaderLine));
        assert_eq!(body_of("HTTP/1.1 200 OK\r\n"), Err(HttpError::NoHeaderEnd));
    }
}
