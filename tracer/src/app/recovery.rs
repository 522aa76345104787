//! Adds what a capture folder holds to a report: the streams, and what was lost of them.

use std::io;

use bytes::Bytes;
use tracer_core::{
    capture::{
        INDEX,
        index::{Head, Reader},
        recovery::{Found, Part, Piece, Search},
        summary::{StreamSummary, Tally},
    },
    report::{self, Report},
    text::redact::Redact,
    verdict::Case,
};

use super::AppError;
use crate::capture::stored::{FilePart, Index, Stored};

/// A capture, and what to do with it.
pub(super) struct Recovery<'a> {
    /// The capture.
    pub(super) stored: &'a mut dyn Stored,
    /// Hides matches in quoted output.
    pub(super) redact: Option<&'a Redact>,
    /// The streams, if they are known better than from the index.
    pub(super) known: Option<Vec<StreamSummary>>,
}

impl Recovery<'_> {
    /// Reads the index once, and adds its content to the report.
    pub(super) fn add_to(self, report: &mut Report, case: &Case<'_>) -> Result<(), AppError> {
        let Self { stored, redact, known } = self;
        let wanted = report::wanted(case, &report.findings);
        let mut search = Search::new(&wanted.wants);
        let (head, streams) = read_index(stored, &mut search, known)?;
        let directory = stored.path().display().to_string();
        let mut captured = report::captured(case.session, directory, &head, &streams);
        captured.more = wanted.more;
        for (want, found) in wanted.wants.iter().zip(search.finish()) {
            let mut read = |piece: &Piece| read_piece(stored, &streams, piece);
            let entry = report::recovered(case.session, want, &found, &streams, redact, &mut read);
            let Some(mut entry) = entry else { continue };
            entry.file = save(stored, &streams, &found);
            captured.recovered.push(entry);
        }
        report.capture = Some(captured);
        Ok(())
    }
}

/// Gives every line to the search for losses. Adds up the streams, unless they are known.
fn read_index(
    stored: &mut dyn Stored,
    search: &mut Search,
    known: Option<Vec<StreamSummary>>,
) -> Result<(Head, Vec<StreamSummary>), AppError> {
    let path = stored.path().to_owned();
    let unreadable = |source: io::Error| AppError::Captured { path: path.clone(), source };
    let mut reader = Reader::new(Index::new(stored).buffered())
        .map_err(|error| unreadable(io::Error::other(error)))?;
    let head = reader.head().clone();
    let mut tally = known.is_none().then(|| Tally::new(head.limit, head.keep));
    for line in &mut reader {
        search.see(&line);
        if let Some(tally) = &mut tally {
            tally.add(&line);
        }
    }
    if let Some(error) = reader.error() {
        return Err(unreadable(io::Error::new(error.kind(), error.to_string())));
    }
    if reader.damaged() > 0 {
        let index = path.join(INDEX);
        tracing::warn!("{}: {} lines cannot be read", index.display(), reader.damaged());
    }
    let streams = known.or(tally.map(Tally::finish)).unwrap_or_default();
    for stream in &streams {
        search.assume_cut(stream.declared.stream, stream.total.cut);
    }
    Ok((head, streams))
}

/// The bytes of a piece. Bytes that cannot be read are left out, and the report is written without them.
fn read_piece(stored: &mut dyn Stored, streams: &[StreamSummary], piece: &Piece) -> Option<Bytes> {
    match stored.read_part(&place_of(streams, piece)?) {
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

/// Where the bytes of a piece are stored.
fn place_of(streams: &[StreamSummary], piece: &Piece) -> Option<FilePart> {
    let stream = report::stream_of(streams, piece.stream)?;
    let Piece { offset, length, .. } = *piece;
    Some(FilePart { file: stream.file.clone(), offset, length })
}

/// Writes recovered bytes to a file if the user wants that, and returns its path. If a file cannot be written, the report
/// goes on without it.
fn save(stored: &mut dyn Stored, streams: &[StreamSummary], found: &Found) -> Option<String> {
    let bytes = |part: &Part| match part {
        Part::Bytes(piece) => place_of(streams, piece),
        Part::Gap { .. } => None,
    };
    let parts: Vec<FilePart> = found.parts.iter().filter_map(bytes).collect();
    let first = found.streams.first().and_then(|stream| report::stream_of(streams, *stream));
    match stored.recover(first.map_or("output", |stream| &stream.file), &parts)? {
        Ok(path) => Some(path),
        Err(error) => {
            tracing::warn!("recovered output is not written: {error}");
            None
        }
    }
}
