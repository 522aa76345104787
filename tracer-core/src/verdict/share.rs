//! The share of one command in what became of the bytes of an object, for pictures: findings have the proof.

use serde::{Deserialize, Serialize};
use tracer_common::ledger::error;

use super::{
    Case, Outcome, Part, Severity, Stream,
    commands::refused,
    rules::file_lost::{self, Loss},
};
use crate::session::Process;

/// Bytes by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Written, as counted in the kernel, with what a blocked write has put into its pipe. The sum of `arrived`,
    /// `inside`, `discarded`, `unseen`, and of the part of `lost` that was written.
    pub written: u64,
    /// Read by a process, in a file, or on a terminal.
    pub arrived: u64,
    /// In a pipe, socket or terminal that a process can still read. For a write that is blocked since before the trace,
    /// all that is in the pipe, although nothing of it counts as written.
    pub inside: u64,
    /// Never read and never to be read, cut from a file, or refused.
    pub lost: u64,
    /// In `/dev/null`, or left to a reader that had enough.
    pub discarded: u64,
    /// tracer does not know.
    pub unseen: u64,
}

impl Bytes {
    /// Adds the bytes of another segment.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.written, other.written);
        add(&mut self.arrived, other.arrived);
        add(&mut self.inside, other.inside);
        add(&mut self.lost, other.lost);
        add(&mut self.discarded, other.discarded);
        add(&mut self.unseen, other.unseen);
    }
}

/// The share of one command in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The bytes that it wrote itself. Where several processes wrote to one object, what is unread or missing is divided
    /// in proportion to what each wrote.
    pub bytes: Bytes,
    /// How bad it is. Information for what only processes that it started did: they have rows of their own.
    pub severity: Severity,
}

impl Case<'_> {
    /// The share of a command in one of its segments.
    #[must_use]
    pub fn share(&self, process: &Process, part: &Part) -> Share {
        let segment = &part.segment;
        let kind = self.session.object_kind(&segment.object);
        let (fd, object, row) = (segment.fd, segment.object, segment.row);
        let stream = Stream { fd, object, kind, row };
        let severity =
            if has_part(part) { self.severity(process, part, &stream) } else { Severity::Info };
        let mut bytes = self.bytes(&stream, part, severity);
        let by_design = part.outcome == Outcome::Refused && severity == Severity::Info;
        let refused = refused(&stream, process.end_ns.is_some());
        bytes.lost = bytes.lost.saturating_add(if by_design { 0 } else { refused });
        Share { bytes, severity }
    }

    fn severity(&self, process: &Process, part: &Part, stream: &Stream) -> Severity {
        match part.outcome {
            Outcome::Overwritten | Outcome::Cut if self.may_be_whole(stream) => Severity::Warning,
            Outcome::Removed | Outcome::Overwritten | Outcome::Cut => Severity::Loss,
            Outcome::Blocked | Outcome::BlockedOpen | Outcome::PutOff => Severity::Warning,
            Outcome::NotSeen if part.segment.row.bytes > 0 => Severity::Warning,
            Outcome::Unread if self.is_read(part) => Severity::Info,
            Outcome::Unread if self.has_reader(part) => Severity::Warning,
            Outcome::Unread | Outcome::Refused if self.reader_had_enough(process, part) => {
                Severity::Info
            }
            Outcome::Unread | Outcome::Refused => Severity::Loss,
            Outcome::NotSeen
            | Outcome::NeverWritten
            | Outcome::Discarded
            | Outcome::Read
            | Outcome::InFile
            | Outcome::Device => Severity::Info,
        }
    }

    /// Whether a file was cut, and perhaps nothing of it is gone.
    fn may_be_whole(&self, stream: &Stream) -> bool {
        file_lost::loss(self, stream).is_some_and(|loss| loss.bytes().0 == 0)
    }

    /// Whether a process is reading the object now.
    pub(super) fn is_read(&self, part: &Part) -> bool {
        let readers = self.flows.get(&part.segment.object).readers.iter();
        let last_ns = readers.filter(|reader| reader.bytes > 0).map(|reader| reader.last_ns).max();
        self.has_reader(part) && self.is_at_work(last_ns)
    }

    pub(super) fn has_reader(&self, part: &Part) -> bool {
        let peer = self.session.peer(&part.segment.object);
        self.session.holders(&peer).any(|holding| holding.reads())
    }

    pub(super) fn reader_had_enough(&self, process: &Process, part: &Part) -> bool {
        let object = part.segment.object;
        let peer = self.session.peer(&object);
        let closer = self.closer(&peer).or_else(|| self.session.closes(&peer).last());
        closer.is_some_and(|closer| self.is_beside_writer(process, &[object], closer.process))
    }

    fn bytes(&self, stream: &Stream, part: &Part, severity: Severity) -> Bytes {
        let flow = self.flows.get(&stream.object);
        let blocked = self.blocked_writers.get(&stream.object).map_or(0, Vec::len) as u64;
        let in_flight = flow.in_flight.checked_div(blocked).filter(|_| part.segment.is_blocked);
        let written = stream.row.bytes.saturating_add(in_flight.unwrap_or(0));
        let all = flow.written.saturating_add(flow.in_flight).max(written);
        // A share of a sum: in 128 bits nothing overflows.
        let share_of = |sum: u64| {
            let share = u128::from(sum) * u128::from(written) / u128::from(all.max(1));
            u64::try_from(share).unwrap_or(u64::MAX).min(written)
        };
        let whole = Bytes { written, ..Bytes::default() };
        if written == 0 {
            // A blocked write may fill its pipe before tracer attaches.
            let full = flow.unread.or(flow.inside).filter(|_| part.segment.is_blocked);
            return Bytes { inside: full.unwrap_or(0), ..whole };
        }
        let (lost, at_most) = file_lost::loss(self, stream).map_or((0, 0), Loss::bytes);
        let (lost, at_most) = (share_of(lost), share_of(at_most));
        let left = share_of(flow.unread.unwrap_or(0));
        match part.outcome {
            Outcome::NotSeen => Bytes { unseen: written, ..whole },
            Outcome::Discarded => Bytes { discarded: written, ..whole },
            _ if at_most > 0 => {
                Bytes { lost, unseen: at_most - lost, arrived: written - at_most, ..whole }
            }
            _ if left == 0 => Bytes { arrived: written, ..whole },
            _ if self.has_reader(part) => Bytes { inside: left, arrived: written - left, ..whole },
            Outcome::Unread | Outcome::Refused if severity == Severity::Info => {
                Bytes { discarded: left, arrived: written - left, ..whole }
            }
            _ => Bytes { lost: left, arrived: written - left, ..whole },
        }
    }
}

/// Whether the command itself did what the outcome says, and not only processes that it started.
fn has_part(part: &Part) -> bool {
    let row = &part.segment.row;
    match part.outcome {
        Outcome::Blocked => part.segment.is_blocked,
        Outcome::BlockedOpen => true,
        Outcome::Refused | Outcome::PutOff => {
            (0..error::COUNT).any(|class| row.errors[class] > 0) || row.last_refused > 0
        }
        _ => row.bytes > 0 || part.segment.is_blocked,
    }
}
