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
