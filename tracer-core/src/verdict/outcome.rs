//! What became of the bytes of a stream at one object, in one word. The rules decide it: an outcome and a finding about
//! the same bytes say the same.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use tracer_common::{
    ledger::{LedgerRow, error},
    object::ObjectId,
};

use super::{
    Case, Confidence, Stream,
    rules::{
        delivered,
        file_lost::{self, Loss},
        reader_gone, refused, stuck,
    },
};
use crate::session::{Holding, Kind, Process};

/// What became of bytes that were written to an object, or why none were. In the order in which a reader of a report
/// needs them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A thread is blocked in a write: the object takes no more, and is not read.
    Blocked,
    /// The process sleeps while it opens a FIFO that no process reads; it has written nothing.
    BlockedOpen,
    /// The file was removed before a process had read all of it.
    Removed,
    /// Another writer wrote over a part of the file, very likely.
    Overwritten,
    /// The file was cut.
    Cut,
    /// Bytes are left in the object that no process has read.
    Unread,
    /// Writes were refused, and the bytes were not written again.
    Refused,
    /// tracer did not see it.
    NotSeen,
    /// All writes so far were refused for the moment (`EAGAIN`).
    PutOff,
    /// No byte was written.
    NeverWritten,
    /// They went to `/dev/null`.
    Discarded,
    /// Processes read them.
    Read,
    /// They are in the file.
    InFile,
    /// A device or a terminal took them; no reader of it is known.
    Device,
}

impl Outcome {
    /// All outcomes, in their order.
    pub const ALL: [Self; 14] = [
        Self::Blocked,
        Self::BlockedOpen,
        Self::Removed,
        Self::Overwritten,
        Self::Cut,
        Self::Unread,
        Self::Refused,
        Self::NotSeen,
        Self::PutOff,
        Self::NeverWritten,
        Self::Discarded,
        Self::Read,
        Self::InFile,
        Self::Device,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What is known of one object and all its writers.
#[derive(Clone, Copy)]
struct Known {
    /// What became of bytes that were written to it.
    bytes: Outcome,
    /// Whether it is full and not read.
    is_stuck: bool,
}

/// The outcomes of a case. What is known of an object is computed once.
pub(super) struct Outcomes<'c, 'a> {
    case: &'c Case<'a>,
    objects: BTreeMap<ObjectId, Known>,
}

impl<'c, 'a> Outcomes<'c, 'a> {
    pub(super) fn new(case: &'c Case<'a>) -> Self {
        Self { case, objects: BTreeMap::new() }
    }

    /// The outcome of what a process and the processes that it started wrote to an object (`stream.row`). `is_blocked`:
    /// one of them is blocked in a write to it. `is_opening`: the process sleeps while it opens a FIFO.
    pub(super) fn of(
        &mut self,
        process: &Process,
        stream: &Stream,
        (is_blocked, is_opening): (bool, bool),
    ) -> Outcome {
        let case = self.case;
        let known = *self.objects.entry(stream.object).or_insert_with(|| known(case, stream));
        let in_flight = case.flows.get(&stream.object).in_flight;
        let wrote = stream.row.bytes > 0 || is_blocked && in_flight > 0;
        let is_lost = matches!(known.bytes, Outcome::Removed | Outcome::Overwritten | Outcome::Cut);
        if is_blocked && (known.is_stuck || !wrote) {
            Outcome::Blocked
        } else if wrote && is_lost {
            known.bytes
        } else if reader_gone::refusals(stream) > 0 {
            Outcome::Refused
        } else if wrote && known.bytes == Outcome::Unread {
            Outcome::Unread
        } else if refused::loses(stream, process.end_ns.is_some()) {
            Outcome::Refused
        } else if wrote {
            known.bytes
        } else {
            self.of_silence(process, stream, is_opening)
        }
    }

    /// Why no byte was written.
    fn of_silence(&self, process: &Process, stream: &Stream, is_opening: bool) -> Outcome {
        if stream.errors(error::EAGAIN) > 0 {
            return Outcome::PutOff;
        }
        match self.case.confidence_of(process, &[stream.object]) {
            _ if is_opening => Outcome::BlockedOpen,
            Confidence::Certain => Outcome::NeverWritten,
            Confidence::Unsure => Outcome::NotSeen,
        }
    }
}

fn known(case: &Case<'_>, stream: &Stream) -> Known {
    let row = LedgerRow { bytes: stream.row.bytes.max(1), ..stream.row };
    let stream = Stream { row, ..stream.clone() };
    Known { bytes: of_bytes(case, &stream), is_stuck: stuck::is_stuck(case, &stream) }
}

/// What became of the bytes in an object to which some were written.
pub(super) fn of_bytes(case: &Case<'_>, stream: &Stream) -> Outcome {
    let flow = case.flows.get(&stream.object);
    if let Some(loss) = file_lost::loss(case, stream) {
        return match loss {
            Loss::Removed(_) => Outcome::Removed,
            Loss::Unproven(_) => Outcome::NotSeen,
            Loss::Missing(_) if file_lost::is_overwritten(case, &stream.object) => {
                Outcome::Overwritten
            }
            Loss::Missing(_) | Loss::Hole(_) => Outcome::Cut,
        };
    }
    if flow.unread.is_some_and(|unread| unread > 0) {
        return Outcome::Unread;
    }
    let is_read = flow.readers.first().is_some_and(|reader| reader.bytes > 0);
    match stream.kind {
        Kind::Null => Outcome::Discarded,
        _ if !delivered::is_delivered(case, stream) => Outcome::NotSeen,
        Kind::File if file_lost::is_removed(case, &stream.object) => match is_read {
            true => Outcome::Read,
            // It was mapped into memory, perhaps.
            false if !case.session.holders(&stream.object).any(Holding::reads) => Outcome::NotSeen,
            false => Outcome::InFile,
        },
        Kind::File => Outcome::InFile,
        _ if is_read => Outcome::Read,
        Kind::Pty | Kind::Device => Outcome::Device,
        Kind::Pipe | Kind::Fifo | Kind::Socket | Kind::HandedIn | Kind::Closed | Kind::Unknown => {
            Outcome::NotSeen
        }
    }
}
