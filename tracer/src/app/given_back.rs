//! What a capture folder adds to a report, live or later: what there is, and what was lost.

use std::{
    io::{self, BufReader, Write as _},
    path::Path,
};

use bytes::Bytes;

use super::AppError;
use crate::{
    capture::{
        INDEX,
        folder::{Folder, FolderError},
        index::{Head, Reader},
        recover::{Found, Part, Piece, Search},
        summary::{StreamSummary, Tally},
    },
    redact::Redact,
    report::{self, Report},
    session::{Flows, Session},
};

/// Reads the index once, and adds what it says to the report.
pub(super) fn add(
    report: &mut Report,
    session: &Session,
    folder: &Folder,
    redact: Option<&Redact>,
    recover: Option<&Folder>,
) -> Result<(), AppError> {
    let wanted = report::wanted(session, &Flows::of(session), &report.findings);
    let mut search = Search::new(&wanted.wants);
    let (head, streams) = read_index(folder, &mut search)?;
    let directory = folder.path().display().to_string();
    let mut captured = report::captured(session, directory, &head, &streams);
    captured.more = wanted.more;
    for (want, found) in wanted.wants.iter().zip(search.finish()) {
        let mut read = |piece: &Piece| read_piece(folder, &streams, piece);
        let entry = report::recovered(session, want, &found, &streams, redact, &mut read);
        let unreadable = |source| AppError::Captured { path: folder.path().to_owned(), source };
        let Some(mut entry) = entry.map_err(unreadable)? else { continue };
        if let Some(recover) = recover {
            let number = captured.recovered.len() + 1;
            entry.file = Some(save(recover, number, folder, &streams, &found)?);
        }
        captured.recovered.push(entry);
    }
    report.capture = Some(captured);
    Ok(())
}

fn read_index(
    folder: &Folder,
    search: &mut Search,
) -> Result<(Head, Vec<StreamSummary>), AppError> {
    let unreadable =
        |source: io::Error| AppError::Captured { path: folder.path().to_owned(), source };
    let file = folder.open_file(INDEX)?;
    let mut reader =
        Reader::new(BufReader::new(file)).map_err(|error| unreadable(io::Error::other(error)))?;
    let head = reader.head().clone();
    let mut tally = Tally::new(head.limit, head.keep);
    for line in &mut reader {
        search.see(&line);
        tally.add(&line);
    }
    if let Some(error) = reader.error() {
        return Err(unreadable(io::Error::new(error.kind(), error.to_string())));
    }
    if reader.damaged() > 0 {
        let index = folder.path().join(INDEX);
        tracing::warn!("{}: {} lines cannot be read", index.display(), reader.damaged());
    }
    Ok((head, tally.finish()))
}

fn read_piece(folder: &Folder, streams: &[StreamSummary], piece: &Piece) -> io::Result<Bytes> {
    let Some(stream) = report::stream_of(streams, piece.stream) else {
        return Err(io::Error::other("the index names a stream that it does not declare"));
    };
    Ok(folder.read_range(&stream.file, piece.offset, piece.length)?.into())
}

/// Writes all that was found to a file of its own; says where.
fn save(
    recover: &Folder,
    number: usize,
    folder: &Folder,
    streams: &[StreamSummary],
    found: &Found,
) -> Result<String, AppError> {
    let file_of =
        |stream: u32| report::stream_of(streams, stream).map(|stream| stream.file.as_str());
    let first = found.streams.first().and_then(|stream| file_of(*stream)).unwrap_or("output");
    let name = format!("{number}-{first}");
    let path = recover.path().join(&name);
    let unwritable = |source| AppError::Recover { path: path.clone(), source };
    let mut out = io::BufWriter::new(recover.create_file(&name)?);
    for part in &found.parts {
        if let Part::Bytes(piece) = part
            && let Some(file) = file_of(piece.stream)
        {
            folder
                .copy_range(file, piece.offset, piece.length, &mut out)
                .map_err(|error: FolderError| unwritable(io::Error::other(error)))?;
        }
    }
    out.flush().map_err(unwritable)?;
    Ok(path.display().to_string())
}

/// Opens a folder to write to, when one was named.
pub(super) fn open_recover(path: Option<&Path>) -> Result<Option<Folder>, AppError> {
    Ok(path.map(Folder::create).transpose()?)
}
