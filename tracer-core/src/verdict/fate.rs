//! What became of the bytes that a job wrote to a stream, in numbers that are certain: what a share would only estimate is
//! in [`Fate::unknown`].

use tracer_common::id::ProcessId;

use super::{
    Case, Command, Outcome, Part, Stream,
    commands::commands_by,
    outcome,
    rules::file_lost::{self, Loss},
};
use crate::session::{Flow, Kind, Process};

/// Bytes that a command and what it started wrote to one segment, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Written, as counted in the kernel: the sum of `delivered`, `lost`, `discarded` and `unknown`. A call that is
    /// blocked counts when it returns.
    pub written: u64,
    /// Read by a process, in a file, or taken by a device or a terminal.
    pub delivered: u64,
    /// Never read, and not to be read any more; or removed, cut or overwritten in a file.
    pub lost: u64,
    /// Written to `/dev/null`, or left to a reader that had enough.
    pub discarded: u64,
    /// It is not known what became of them: tracer did not see it, they can still be read, or they are among bytes of
    /// several commands of which a part was lost.
    pub unknown: u64,
    /// Refused by the kernel, and not written again. They are not in `written`. What a reader that had enough refused is
    /// left out.
    pub refused: u64,
}

impl Fate {
    /// Adds the bytes of another segment.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.written, other.written);
        add(&mut self.delivered, other.delivered);
        add(&mut self.lost, other.lost);
        add(&mut self.discarded, other.discarded);
        add(&mut self.unknown, other.unknown);
        add(&mut self.refused, other.refused);
    }
}

/// Bytes of which a part is lost: at least and at most how many of one command.
#[derive(Clone, Copy)]
struct Between {
    least: u64,
    most: u64,
}

impl Between {
    /// `lost` bytes are lost of `all` that several commands wrote, `own` of them this one.
    fn of(lost: u64, own: u64, all: u64) -> Self {
        let others = all.saturating_sub(own);
        Self { least: lost.saturating_sub(others).min(own), most: lost.min(own) }
    }
}

/// What becomes of bytes that wait in a pipe, socket or terminal.
#[derive(Clone, Copy)]
enum Left {
    Lost,
    Discarded,
    Unknown,
}

impl<'a> Case<'a> {
    /// The command of a process, with the segments of its stdout and stderr; `None` if it is no command.
    #[must_use]
    pub fn command_of(&self, process: ProcessId) -> Option<Command<'a>> {
        let is_other = |command: &Command<'_>| command.process.id != process;
        let (found, _) =
            commands_by(self, &[1, 2], 1, |command| (is_other(command), command.process.id));
        found.into_iter().find(|command| !is_other(command))
    }

    /// What became of the bytes of a segment of a command. `is_over`: whether the command and all that it started have
    /// ended, so that what waits unread counts as lost, as in the findings.
    #[must_use]
    pub fn fate(&self, process: &Process, part: &Part, is_over: bool) -> Fate {
        let segment = &part.segment;
        let (fd, object, row) = (segment.fd, segment.object, part.whole);
        let stream = Stream { fd, object, kind: self.session.object_kind(&object), row };
        let by_design = part.outcome == Outcome::Refused && self.reader_had_enough(process, part);
        let refused = if by_design { 0 } else { part.refused };
        let whole = Fate { written: row.bytes, refused, ..Fate::default() };
        if row.bytes == 0 {
            return whole;
        }
        match outcome::of_bytes(self, &stream) {
            Outcome::Discarded => Fate { discarded: row.bytes, ..whole },
            Outcome::Read | Outcome::InFile | Outcome::Device => {
                Fate { delivered: row.bytes, ..whole }
            }
            Outcome::Removed | Outcome::Overwritten | Outcome::Cut => self.in_file(&stream, whole),
            Outcome::Unread => self.unread(&stream, whole, self.left(process, part, is_over)),
            _ => Fate { unknown: row.bytes, ..whole },
        }
    }

    /// Of a file that was removed, cut or overwritten.
    fn in_file(&self, stream: &Stream, whole: Fate) -> Fate {
        let flow = self.flows.get(&stream.object);
        let (least, most) = file_lost::loss(self, stream).map_or((0, flow.written), Loss::bytes);
        let of = |bytes| Between::of(bytes, whole.written, flow.written);
        let gone = Between { least: of(least).least, most: of(most).most };
        split(whole, gone, Left::Lost)
    }

    /// Of a pipe, socket or terminal in which bytes wait.
    fn unread(&self, stream: &Stream, whole: Fate, left: Left) -> Fate {
        let flow = self.flows.get(&stream.object);
        if flow.balanced == Some(false) {
            return Fate { unknown: whole.written, ..whole };
        }
        let own = whole.written;
        let mut waits = Between::of(flow.unread.unwrap_or(0), own, all(flow));
        if stream.kind == Kind::Pty {
            // A terminal adds bytes to those that are written to it: a look counts those as well.
            let least = if flow.inside.is_none() { waits.least } else { 0 };
            waits = Between { least, most: own };
        }
        split(whole, waits, left)
    }

    /// What becomes of the bytes that wait in the object of a segment.
    fn left(&self, process: &Process, part: &Part, is_over: bool) -> Left {
        match self.has_reader(part) {
            true if !is_over || self.is_read(part) => Left::Unknown,
            false if self.reader_had_enough(process, part) => Left::Discarded,
            _ => Left::Lost,
        }
    }
}

/// All that was put into an object, with what blocked writes have put into it so far.
fn all(flow: &Flow) -> u64 {
    flow.written.saturating_add(flow.in_flight)
}

fn split(whole: Fate, gone: Between, as_what: Left) -> Fate {
    let (delivered, unsure) = (whole.written - gone.most, gone.most - gone.least);
    let fate = Fate { delivered, unknown: unsure, ..whole };
    match as_what {
        Left::Lost => Fate { lost: gone.least, ..fate },
        Left::Discarded => Fate { discarded: gone.least, ..fate },
        Left::Unknown => Fate { unknown: gone.most, ..fate },
    }
}
