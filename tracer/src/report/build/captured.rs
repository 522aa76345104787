//! A capture's index, and what was found in it, as the report shows them.

use std::{collections::BTreeMap, io};

use bytes::Bytes;

use super::excerpt::{Quoted, WINDOW, excerpt};
use crate::{
    capture::{
        index::{Declared, Head, Line, Missing, Total},
        recover::{Found, Part, Piece, Want},
    },
    redact::Redact,
    report::{Captured, CapturedGap, CapturedStream, Recovered, RecoveredKind},
    session::Session,
};

/// Kinds of gaps told apart in one stream; a program may copy out of a thousand files.
const MOST_KINDS: usize = 16;

/// What is in a capture folder, gathered from the lines of its index.
#[derive(Clone, Debug, Default)]
pub struct CaptureSummary {
    head: Option<Head>,
    streams: BTreeMap<u32, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    declared: Declared,
    /// Bytes appended to the file, whatever was cut since.
    appended: u64,
    missing: u64,
    gaps: Vec<CapturedGap>,
    total: Option<Total>,
}

impl CaptureSummary {
    /// Takes the next line.
    pub fn see(&mut self, line: &Line) {
        match line {
            Line::Capture(head) => self.head = Some(head.clone()),
            Line::Stream(declared) => {
                let declared = declared.clone();
                let (gaps, total) = (Vec::new(), None);
                let known = Known { declared, appended: 0, missing: 0, gaps, total };
                self.streams.insert(known.declared.stream, known);
            }
            Line::Write(write) => {
                if let Some(known) = self.streams.get_mut(&write.stream) {
                    known.appended = known.appended.saturating_add(write.length);
                }
            }
            Line::Gap(gap) => {
                if let Some(known) = self.streams.get_mut(&gap.stream) {
                    known.miss(gap);
                }
            }
            Line::End(total) => {
                if let Some(known) = self.streams.get_mut(&total.stream) {
                    known.total = Some(*total);
                }
            }
        }
    }

    /// A stream by its number.
    #[must_use]
    pub fn stream(&self, number: u32) -> Option<&Declared> {
        self.streams.get(&number).map(|known| &known.declared)
    }

    /// The report's part about the folder, without anything recovered.
    #[must_use]
    pub fn finish(&self, session: &Session, directory: String) -> Captured {
        Captured {
            directory,
            limit: self.head.as_ref().and_then(|head| head.limit),
            keep: self.head.as_ref().map(|head| head.keep).unwrap_or_default(),
            streams: self.streams.values().map(|known| known.shown(session)).collect(),
            recovered: Vec::new(),
            more: 0,
        }
    }
}

impl Known {
    fn miss(&mut self, gap: &Missing) {
        self.missing = self.missing.saturating_add(gap.length);
        let is_full = self.gaps.len() >= MOST_KINDS;
        let source = gap.source.clone().filter(|_| !is_full);
        let known = self
            .gaps
            .iter_mut()
            .find(|known| known.reason == gap.reason && (known.source == gap.source || is_full));
        match known {
            Some(known) => {
                known.bytes = known.bytes.saturating_add(gap.length);
                known.times += 1;
                if known.source != gap.source {
                    known.source = None;
                }
            }
            None => self.gaps.push(CapturedGap {
                reason: gap.reason,
                bytes: gap.length,
                times: 1,
                source,
            }),
        }
    }

    /// An index without an end has no totals: what its lines say is all that is known.
    fn shown(&self, session: &Session) -> CapturedStream {
        let total = self.total.unwrap_or(Total {
            stream: self.declared.stream,
            written: self.appended.saturating_add(self.missing),
            kept: self.appended,
            cut: 0,
            missing: self.missing,
        });
        CapturedStream {
            pid: self.declared.process.tgid,
            comm: self.declared.comm.clone(),
            fd: self.declared.fd,
            object: session.object_name(&self.declared.object),
            file: self.declared.file.clone(),
            written: total.written,
            kept: total.kept,
            cut: total.cut,
            missing: total.missing,
            gaps: self.gaps.clone(),
        }
    }
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
    summary: &CaptureSummary,
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
    for stream in found.streams.iter().filter_map(|number| summary.stream(*number)) {
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
    use crate::capture::{Keep, Reason, index::Written, recover::recover};

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
        let (schema, tracer) = ("tracer.capture/1".to_owned(), "0.1.0".to_owned());
        vec![
            Line::Capture(Head { schema, tracer, limit: Some(8), keep: Keep::Last }),
            Line::Stream(Declared { stream: 1, process, comm, fd: 2, object: PIPE, file }),
            write(0, 3),
            gap(2, Reason::RingFull, None),
            gap(3, Reason::RingFull, None),
            write(3, 7),
            gap(4, Reason::Copied, Some("/a".into())),
            Line::End(Total { stream: 1, written: 19, kept: 8, cut: 2, missing: 9 }),
        ]
    }

    fn summary(lines: &[Line]) -> CaptureSummary {
        let mut summary = CaptureSummary::default();
        lines.iter().for_each(|line| summary.see(line));
        summary
    }

    #[test]
    fn the_books_of_a_stream_and_its_gaps_by_kind() {
        let captured = summary(&lines()).finish(&Session::default(), "out".into());
        assert_eq!((captured.limit, captured.keep), (Some(8), Keep::Last));
        let [stream] = &captured.streams[..] else { panic!("{captured:?}") };
        assert_eq!((stream.written, stream.kept, stream.cut, stream.missing), (19, 8, 2, 9));
        let kinds: Vec<_> =
            stream.gaps.iter().map(|gap| (gap.reason, gap.bytes, gap.times)).collect();
        assert_eq!(kinds, [(Reason::RingFull, 5, 2), (Reason::Copied, 4, 1)]);
        assert_eq!(stream.gaps[1].source.as_deref(), Some("/a"));
    }

    #[test]
    fn without_an_end_the_lines_are_the_books() {
        let captured = summary(&lines()[..7]).finish(&Session::default(), "out".into());
        let stream = &captured.streams[0];
        assert_eq!((stream.written, stream.kept, stream.missing), (19, 10, 9));
    }

    #[test]
    fn sources_without_end_are_one_kind() {
        let mut lines = lines();
        let copies = (0..100).map(|number| gap(1, Reason::Copied, Some(format!("/{number}"))));
        lines.splice(6..7, copies);
        let captured = summary(&lines).finish(&Session::default(), "out".into());
        let gaps = &captured.streams[0].gaps;
        assert!(gaps.len() <= MOST_KINDS + 1, "{}", gaps.len());
        assert_eq!(gaps.iter().map(|gap| gap.bytes).sum::<u64>(), 105);
        assert_eq!(gaps.iter().map(|gap| gap.times).sum::<u64>(), 102);
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
        recovered(&session, &want, &found, &summary(&lines()), redact, &mut read).unwrap()
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
