//! A capture's index, and what was found in it, as the report shows them.

use std::io;

use bytes::Bytes;

use super::excerpt::{Quoted, WINDOW, excerpt};
use crate::{
    capture::{
        index::{Declared, Head},
        recover::{Found, Part, Piece, Want},
        summary::StreamSummary,
    },
    redact::Redact,
    report::{Captured, CapturedStream, Recovered, RecoveredKind},
    session::Session,
};

/// The report's part about a capture folder, without anything recovered.
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

/// The stream of a number.
#[must_use]
pub fn stream_of(streams: &[StreamSummary], number: u32) -> Option<&Declared> {
    streams.iter().map(|stream| &stream.declared).find(|declared| declared.stream == number)
}

/// What was found of a want; `None` when the capture knows nothing of it. `read` gives the bytes of a
/// piece out of its stream's file; at most 64 KiB are asked for.
///
/// # Errors
/// Whatever `read` answers.
pub fn recovered(
    session: &Session,
    want: &Want,
    found: &Found,
    streams: &[StreamSummary],
    redact: Option<&Redact>,
    read: &mut dyn FnMut(&Piece) -> io::Result<Bytes>,
) -> io::Result<Option<Recovered>> {
    if found.parts.is_empty() {
        return Ok(None);
    }
    let (kind, object) = match want {
        Want::Tail { object, .. } => (RecoveredKind::Unread, object),
        Want::Stream { object, .. } => (RecoveredKind::Stream, object),
    };
    let parts: Vec<Quoted> = found
        .last(WINDOW)
        .iter()
        .map(|part| match part {
            Part::Bytes(piece) => read(piece).map(Quoted::Bytes),
            Part::Gap { length, reason } => Ok(Quoted::Gap(*length, *reason)),
        })
        .collect::<io::Result<_>>()?;
    let (text, quoted) = excerpt(&parts, redact);
    let mut recovered = Recovered {
        kind,
        object: session.object_name(object),
        bytes: found.bytes,
        missing: found.missing,
        exact: found.is_exact(),
        doubts: found.doubts.clone(),
        text,
        text_cut: found.bytes.saturating_sub(quoted),
        ..Recovered::default()
    };
    for stream in found.streams.iter().filter_map(|number| stream_of(streams, *number)) {
        name_writer(&mut recovered, stream);
    }
    Ok(Some(recovered))
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
        recover::recover,
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
    fn the_books_of_a_stream_and_its_gaps_by_kind() {
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

    fn given_back(want: Want, redact: Option<&Redact>) -> Option<Recovered> {
        let found = recover(&[want], lines()).remove(0);
        // What is left of `abcdefghij` after two bytes were cut from the front.
        let file = Bytes::from_static(b"cdefghij");
        let mut read = |piece: &Piece| {
            let from = piece.offset as usize;
            Ok(file.slice(from..from + piece.length as usize))
        };
        let session = Session::default();
        recovered(&session, &want, &found, &streams(&lines()), redact, &mut read).unwrap()
    }

    #[test]
    fn what_was_found_is_quoted_with_its_gaps_and_writers() {
        let want = Want::Tail { object: PIPE, unread: 6, in_flight: 0, written: 19 };
        let recovered = given_back(want, None).unwrap();
        assert_eq!(recovered.text, "ij\n[4 B missing: copied inside the kernel]\n");
        assert_eq!((recovered.bytes, recovered.missing, recovered.text_cut), (2, 4, 0));
        assert_eq!((recovered.kind, recovered.exact), (RecoveredKind::Unread, false));
        let process = ProcessId::new(71, 5);
        let want = Want::Stream { process, fd: 2, object: PIPE };
        let redact = Redact::new(&["e.g"]).unwrap();
        let recovered = given_back(want, Some(&redact)).unwrap();
        assert!(recovered.text.contains("d[redacted]hij"), "{}", recovered.text);
        assert_eq!((&recovered.fds[..], &recovered.pids[..]), (&[2][..], &[71][..]));
        assert_eq!(
            (recovered.comms, recovered.bytes, recovered.missing),
            (vec!["docker".to_owned()], 8, 11)
        );
        assert_eq!(given_back(Want::Stream { process, fd: 1, object: PIPE }, None), None);
    }
}
