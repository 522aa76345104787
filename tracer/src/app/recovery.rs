//! Adds what a capture folder holds to a report: the streams, and what was lost of them.

use std::{
    io::{self, BufReader, BufWriter, Write as _},
    path::Path,
};

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
use crate::capture::folder::{Folder, FolderError};

/// A capture folder, and what to do with it.
pub(super) struct Recovery<'a> {
    /// The capture.
    pub(super) folder: &'a Folder,
    /// Hides matches in quoted output.
    pub(super) redact: Option<&'a Redact>,
    /// The folder for recovered output.
    pub(super) recover: Option<&'a mut RecoveryFolder>,
    /// The streams, if they are known better than from the index.
    pub(super) known: Option<Vec<StreamSummary>>,
}

impl Recovery<'_> {
    /// Reads the index once, and adds its content to the report.
    pub(super) fn add_to(mut self, report: &mut Report, case: &Case<'_>) -> Result<(), AppError> {
        let folder = self.folder;
        let wanted = report::wanted(case, &report.findings);
        let mut search = Search::new(&wanted.wants);
        let (head, streams) = read_index(folder, &mut search, self.known)?;
        let directory = folder.path().display().to_string();
        let mut captured = report::captured(case.session, directory, &head, &streams);
        captured.more = wanted.more;
        for (want, found) in wanted.wants.iter().zip(search.finish()) {
            let mut read = |piece: &Piece| read_piece(folder, &streams, piece);
            let entry =
                report::recovered(case.session, want, &found, &streams, self.redact, &mut read);
            let Some(mut entry) = entry else { continue };
            if let Some(recover) = &mut self.recover {
                entry.file = recover.save(folder, &streams, &found);
            }
            captured.recovered.push(entry);
        }
        report.capture = Some(captured);
        Ok(())
    }
}

/// Gives every line to the search for losses. Adds up the streams, unless they are known.
fn read_index(
    folder: &Folder,
    search: &mut Search,
    known: Option<Vec<StreamSummary>>,
) -> Result<(Head, Vec<StreamSummary>), AppError> {
    let unreadable =
        |source: io::Error| AppError::Captured { path: folder.path().to_owned(), source };
    let file = folder.open_file(INDEX)?;
    let mut reader =
        Reader::new(BufReader::new(file)).map_err(|error| unreadable(io::Error::other(error)))?;
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
        let index = folder.path().join(INDEX);
        tracing::warn!("{}: {} lines cannot be read", index.display(), reader.damaged());
    }
    let streams = known.or(tally.map(Tally::finish)).unwrap_or_default();
    for stream in &streams {
        search.assume_cut(stream.declared.stream, stream.total.cut);
    }
    Ok((head, streams))
}

/// The bytes of a piece. Bytes that cannot be read are left out, and the report is written without them.
fn read_piece(folder: &Folder, streams: &[StreamSummary], piece: &Piece) -> Option<Bytes> {
    let stream = report::stream_of(streams, piece.stream)?;
    match folder.read_range(&stream.file, piece.offset, piece.length) {
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

/// `--recover`: a folder with one file for each loss.
pub(super) struct RecoveryFolder {
    pub(super) folder: Folder,
    /// Number of files so far, over all reports of this run.
    count: u32,
}

impl RecoveryFolder {
    /// Opens the folder, if the user named one.
    pub(super) fn open(path: Option<&Path>) -> Result<Option<Self>, AppError> {
        let Some(path) = path else { return Ok(None) };
        Ok(Some(Self { folder: Folder::create(path)?, count: 0 }))
    }

    /// Writes recovered bytes to a file, and returns its path. If a file cannot be written, the report goes on
    /// without it.
    fn save(&mut self, from: &Folder, streams: &[StreamSummary], found: &Found) -> Option<String> {
        let first = found.streams.first().and_then(|stream| report::stream_of(streams, *stream));
        self.count += 1;
        let name = format!("{}-{}", self.count, first.map_or("output", |stream| &stream.file));
        let path = self.folder.path().join(&name);
        match self.write(&name, from, streams, found) {
            Ok(()) => Some(path.display().to_string()),
            Err(error) => {
                tracing::warn!("cannot write {}: {error}", path.display());
                None
            }
        }
    }

    fn write(
        &self,
        name: &str,
        from: &Folder,
        streams: &[StreamSummary],
        found: &Found,
    ) -> Result<(), FolderError> {
        let mut out = BufWriter::new(self.folder.create_file(name)?);
        for part in &found.parts {
            if let Part::Bytes(piece) = part
                && let Some(stream) = report::stream_of(streams, piece.stream)
            {
                from.copy_range(&stream.file, piece.offset, piece.length, &mut out)?;
            }
        }
        out.flush().map_err(|source| {
            let path = self.folder.path().join(name);
            FolderError::Io { doing: "write", path, source }
        })
    }
}
