//! Describes a capture and recovered output for the report.

use bytes::Bytes;

use super::excerpt::{Quoted, WINDOW, excerpt};
use crate::{
    capture::{
        Reason,
        index::{Declared, Head},
        recovery::{Doubt, Found, Part, Piece, Want},
        summary::StreamSummary,
    },
    report::{Captured, CapturedStream, Recovered, RecoveredKind},
    session::Session,
    text::redact::Redact,
};

/// The part about a capture folder, without recovered output.
#[must_use]
pub fn captured(
    session: &Session,
    directory: String,
    head: &Head,
    streams: &[StreamSummary],
) -> Captured {
    Captured {
        directory,
        limit: head.limit,
        keep: head.keep,
        streams: streams.iter().map(|stream| shown(session, stream)).collect(),
        recovered: Vec::new(),
        more: 0,
    }
}

fn shown(session: &Session, stream: &StreamSummary) -> CapturedStream {
    let StreamSummary { declared, total, gaps } = stream;
    CapturedStream {
        pid: declared.process.tgid,
        comm: declared.comm.clone(),
        fd: declared.fd,
        object: session.object_name(&declared.object),
        file: declared.file.clone(),
        written: total.written,
        kept: total.kept,
        cut: total.cut,
        missing: total.missing,
        gaps: gaps.clone(),
    }
}

/// The stream with a number; `streams` are sorted by number.
#[must_use]
pub fn stream_of(streams: &[StreamSummary], number: u32) -> Option<&Declared> {
    let place = streams.binary_search_by_key(&number, |stream| stream.declared.stream).ok()?;
    streams.get(place).map(|stream| &stream.declared)
}

/// Bytes before the quoted ones that patterns may see: the beginning of the first line.
const CONTEXT: u64 = 8 << 10;

/// Describes what was found for a request; `None` if the capture has nothing of it. `read` returns the bytes of a
/// piece from the file of its stream, or `None` if the file does not have them; it is asked for at most 72 KiB in
/// total.
#[must_use]
pub fn recovered(
    session: &Session,
    want: &Want,
    found: &Found,
    streams: &[StreamSummary],
    redact: Option<&Redact>,
    read: &mut dyn FnMut(&Piece) -> Option<Bytes>,
) -> Option<Recovered> {
    if found.parts.is_empty() {
        return None;
    }
    let (kind, object) = match want {
        Want::Tail { object, .. } => (RecoveredKind::Unread, object),
        Want::Stream { object, .. } => (RecoveredKind::Stream, object),
    };
    let last = found.last(WINDOW);
    let context = match (redact, last.first()) {
        (Some(_), Some(Part::Bytes(first))) => line_before(first, read),
        _ => Bytes::new(),
    };
    let mut doubts = found.doubts.clone();
    let parts: Vec<Quoted> = last
        .iter()
        .map(|part| match part {
            Part::Gap { length, reason } => Quoted::Gap(*length, *reason),
            Part::Bytes(piece) => match read(piece) {
                Some(bytes) => Quoted::Bytes(bytes),
                None => Quoted::Gap(piece.length, Reason::DiskError),
            },
        })
        .collect();
    let is_gap = |part: &Quoted| matches!(part, Quoted::Gap(_, Reason::DiskError));
    if parts.iter().any(is_gap) && !doubts.contains(&Doubt::Gaps) {
        doubts.push(Doubt::Gaps);
    }
    let (text, quoted) = excerpt(&context, &parts, redact);
    let mut recovered = Recovered {
        kind,
        object: session.object_name(object),
        bytes: found.bytes,
        missing: found.missing,
        exact: doubts.is_empty(),
        doubts,
        text,
        text_cut: found.bytes.saturating_sub(quoted),
        ..Recovered::default()
    };
    for stream in found.streams.iter().filter_map(|number| stream_of(streams, *number)) {
        name_writer(&mut recovered, stream);
    }
    Some(recovered)
}

/// The bytes before a piece in the same file, back to the beginning of the line.
fn line_before(piece: &Piece, read: &mut dyn FnMut(&Piece) -> Option<Bytes>) -> Bytes {
    let length = piece.offset.min(CONTEXT);
    if length == 0 {
        return Bytes::new();
    }
    let before = Piece { offset: piece.offset - length, length, ..*piece };
    let bytes = read(&before).unwrap_or_default();
    let begin = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.slice(begin..)
}

fn name_writer(recovered: &mut Recovered, stream: &Declared) {
    if !recovered.fds.contains(&stream.fd) {
        recovered.fds.push(stream.fd);
    }
    if !recovered.pids.contains(&stream.process.tgid) {
        recovered.pids.push(stream.process.tgid);
        recovered.comms.push(stream.comm.clone());
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{id::ProcessId, object::ObjectId};

    use super::*;
    use crate::capture::{
        Keep, Reason,
        index::{Line, Missing, Total, Written},
        recovery::recover,
        summary::Tally,
    };

    const PIPE: ObjectId = ObjectId { ino: 88, dev: 9, discriminator: 0 };

    fn write(offset: u64, length: u64) -> Line {
        let syscall = "write".into();
        Line::Write(Written { stream: 1, offset, length, time_ns: offset, tid: 71, syscall })
    }

    fn gap(length: u64, reason: Reason, source: Option<String>) -> Line {
        Line::Gap(Missing { stream: 1, offset: 3, length, time_ns: 9, reason, source })
    }

    fn lines() -> Vec<Line> {
        let process = ProcessId::new(71, 5);
        let (comm, file) = ("docker".to_owned(), "docker-71.stderr".to_owned());
        vec![
            Line::Stream(Declared { stream: 1, process, comm, fd: 2, object: PIPE, file }),
            write(0, 3),
            gap(2, Reason::RingFull, None),
            gap(3, Reason::RingFull, None),
            write(3, 7),
            gap(4, Reason::Copied, Some("/a".into())),
            Line::End(Total { stream: 1, written: 19, kept: 8, cut: 2, missing: 9 }),
        ]
    }

    fn streams(lines: &[Line]) -> Vec<StreamSummary> {
        let mut tally = Tally::new(Some(8), Keep::Last);
        lines.iter().for_each(|line| tally.add(line));
        tally.finish()
    }

    #[test]
    fn a_streams_account_and_its_gaps_by_kind() {
        let head = Head::new(Some(8), Keep::Last);
        let captured = captured(&Session::default(), "out".into(), &head, &streams(&lines()));
        assert_eq!((captured.limit, captured.keep), (Some(8), Keep::Last));
        let [stream] = &captured.streams[..] else { panic!("{captured:?}") };
        assert_eq!((stream.written, stream.kept, stream.cut, stream.missing), (19, 8, 2, 9));
        let kinds: Vec<_> =
            stream.gaps.iter().map(|gap| (gap.reason, gap.bytes, gap.times)).collect();
        assert_eq!(kinds, [(Reason::RingFull, 5, 2), (Reason::Copied, 4, 1)]);
        assert_eq!(stream.gaps[1].source.as_deref(), Some("/a"));
    }

    fn recovered_by(want: Want, redact: Option<&Redact>) -> Option<Recovered> {
        let found = recover(&[want], lines()).remove(0);
        // The rest of `abcdefghij` after two bytes were cut from the front.
        let file = Bytes::from_static(b"cdefghij");
        let mut read = |piece: &Piece| {
            let from = piece.offset as usize;
            file.get(from..from + piece.length as usize).map(|range| file.slice_ref(range))
        };
        let session = Session::default();
        recovered(&session, &want, &found, &streams(&lines()), redact, &mut read)
    }

    #[test]
    fn found_bytes_are_quoted_with_their_gaps_and_writers() {
        let want = Want::Tail { object: PIPE, unread: 6, in_flight: 0, written: 19, is_sure: true };
        let recovered = recovered_by(want, None).unwrap();
        assert_eq!(recovered.text, "ij\n[4 B missing: copied inside the kernel]\n");
        assert_eq!((recovered.bytes, recovered.missing, recovered.text_cut), (2, 4, 0));
        assert_eq!((recovered.kind, recovered.exact), (RecoveredKind::Unread, false));
        let process = ProcessId::new(71, 5);
        let want = Want::Stream { process, fd: 2, object: PIPE };
        let redact = Redact::new(&["e.g"]).unwrap();
        let recovered = recovered_by(want, Some(&redact)).unwrap();
        assert!(recovered.text.contains("d[redacted]hij"), "{}", recovered.text);
        assert_eq!((&recovered.fds[..], &recovered.pids[..]), (&[2][..], &[71][..]));
        assert_eq!(
            (recovered.comms, recovered.bytes, recovered.missing),
            (vec!["docker".to_owned()], 8, 11)
        );
        assert_eq!(recovered_by(Want::Stream { process, fd: 1, object: PIPE }, None), None);
    }

    #[test]
    fn a_secret_that_begins_before_the_quoted_bytes_is_hidden() {
        let want = Want::Tail { object: PIPE, unread: 6, in_flight: 0, written: 19, is_sure: true };
        // The file has `cdefghij`; `ij` is unread.
        let redact = Redact::new(&["g.*"]).unwrap();
        let recovered = recovered_by(want, Some(&redact)).unwrap();
        assert!(recovered.text.starts_with("[redacted]"), "{}", recovered.text);
        assert!(!recovered.text.contains("ij"), "{}", recovered.text);
        assert_eq!((recovered.bytes, recovered.text_cut), (2, 0));
    }

    #[test]
    fn bytes_that_the_file_lacks_are_a_gap_and_a_doubt() {
        let process = ProcessId::new(71, 5);
        let want = Want::Stream { process, fd: 2, object: PIPE };
        let found = recover(&[want], lines()).remove(0);
        let session = Session::default();
        let recovered =
            recovered(&session, &want, &found, &streams(&lines()), None, &mut |_| None).unwrap();
        assert!(recovered.text.contains("could not be written"), "{}", recovered.text);
        assert_eq!((recovered.exact, recovered.doubts), (false, vec![Doubt::Gaps]));
    }
}
