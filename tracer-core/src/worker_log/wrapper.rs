//! Removes what container runtimes put around a line: CRI prefixes, docker's json-file objects, and the stamps of
//! `kubectl logs --timestamps`.

use std::str;

use serde::{Deserialize, de::IgnoredAny};

use super::{Stream, date};

/// Docker cuts a longer line into pieces of exactly this size. Only the last has a line break.
/// <https://github.com/moby/moby/blob/v28.0.0/daemon/logger/copier.go>
const DOCKER_PIECE: usize = 16 * 1024;

/// A line after its outermost wrapper was removed.
#[derive(Debug)]
pub(super) enum Peeled<'a> {
    /// No wrapper.
    Nothing,
    /// A date before a whole line. Loggers that write full dates look the same.
    Stamped { rest: &'a [u8], stamp: i64 },
    /// A line, or a part of one.
    Piece(Piece),
}

/// The runtimes that cut lines into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Runtime {
    Cri,
    Docker,
}

/// One line of a runtime's log file.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) runtime: Runtime,
    pub(super) stream: Stream,
    pub(super) stamp: Option<i64>,
    pub(super) text: Vec<u8>,
    /// The next piece of the same stream belongs to the same line.
    pub(super) is_continued: bool,
}

/// One object of docker's json-file log. No other keys are allowed, so that a logger's own object
/// with a field named `log` is not taken for a wrapper.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DockerLine {
    pub(super) log: String,
    pub(super) stream: Stream,
    time: Option<String>,
    #[serde(rename = "attrs")]
    _attrs: Option<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        stream(name.as_bytes()).ok_or_else(|| serde::de::Error::custom("no stream of a process"))
    }
}

pub(super) fn peel(text: &[u8]) -> Peeled<'_> {
    if text.first() == Some(&b'{') {
        return serde_json::from_slice(text)
            .map_or(Peeled::Nothing, |line| Peeled::Piece(docker_piece(line)));
    }
    let (first, rest) = word(text);
    let Some(stamp) = str::from_utf8(first).ok().and_then(date::rfc3339) else {
        return Peeled::Nothing;
    };
    cri_piece(rest, stamp).map_or(Peeled::Stamped { rest, stamp }, Peeled::Piece)
}

pub(super) fn stream(name: &[u8]) -> Option<Stream> {
    match name {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

fn docker_piece(line: DockerLine) -> Piece {
    let mut text = line.log.into_bytes();
    let is_ended = text.pop_if(|last| *last == b'\n').is_some();
    if is_ended {
        text.pop_if(|last| *last == b'\r');
    }
    // A shorter piece without a line break is the last output of a container that ended.
    let is_continued = !is_ended && text.len() >= DOCKER_PIECE;
    let stamp = line.time.as_deref().and_then(date::rfc3339);
    Piece { runtime: Runtime::Docker, stream: line.stream, stamp, text, is_continued }
}

/// Reads the rest after the date: `stdout F text`. The tag may have more parts after a colon.
fn cri_piece(text: &[u8], stamp: i64) -> Option<Piece> {
    let (name, rest) = word(text);
    let (tags, rest) = word(rest);
    let is_continued = match tags.split(|&byte| byte == b':').next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(Piece {
        runtime: Runtime::Cri,
        stream: stream(name)?,
        stamp: Some(stamp),
        text: rest.to_vec(),
        is_continued,
    })
}

/// The text up to the first space, and the text after that space.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
    let (first, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (first, rest.get(1..).unwrap_or_default())
}
