//! Reads a recording. The file is untrusted: it may be cut, damaged or forged.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    thread,
};

use serde_json::Value;
use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    loss::LossCell,
};

use super::{
    SCHEMA,
    budget::{Budget, LeftOut},
    limits::Limits,
    line::{Checkpoint, End, Header, Loss, Row, StartedHere, kind},
    parallel::{Lines, Outcome},
    parse::{Line, Parsed},
};
use crate::{
    session::{LossReason, Session},
    text::{
        bounded_line::{self, Ending},
        units::exact,
    },
};

/// Maximal length of a line. The longest line that tracer writes holds the arguments of one process, which Linux
/// limits to 2 MiB by default. A longer line counts as damaged and is skipped.
pub const LINE_LIMIT: usize = 4 << 20;

/// Why a line was skipped that is longer than [`LINE_LIMIT`].
pub(super) fn too_long() -> String {
    format!("it is longer than {}", exact(LINE_LIMIT as u64))
}

/// Why a file is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is empty.
    #[error("it is empty: the run that recorded it ended before it was attached")]
    Empty,
    /// It was cut in its first line.
    #[error("it was cut inside its first line, so nothing of the session is left")]
    CutHeader,
    /// It is another kind of file.
    #[error("it is not a tracer recording; `tracer --record FILE` makes one")]
    NotARecording,
    /// It is a report.
    #[error("it is a report, not a recording; `tracer --record FILE` makes one")]
    IsAReport,
    /// A schema version that this tracer does not know.
    #[error(
        "it was recorded by tracer {tracer} as {schema}, and this tracer reads {SCHEMA}: use that version"
    )]
    OtherSchema {
        /// Its schema.
        schema: String,
        /// Version of the tracer that recorded it.
        tracer: String,
    },
    /// The first line is damaged.
    #[error("its first line is damaged ({reason}), so nothing else in it can be understood")]
    DamagedHeader {
        /// The parse error.
        reason: String,
    },
    /// It is a directory.
    #[error("it is a directory, not a recording")]
    Directory,
    /// An error of the system.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::IsADirectory => Self::Directory,
            _ => Self::Io(error),
        }
    }
}

/// A recording that was read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its first line.
    pub header: Header,
    /// The session, with the losses of the recording itself.
    pub session: Session,
    /// Whether it has no `end` line.
    pub is_cut: bool,
    /// Number of lines that could not be read.
    pub damaged: u64,
    /// Number of the first such line, and its error.
    pub first_damage: Option<(u64, String)>,
    /// Why the rest of the file was not read, if so.
    pub left_out: Option<LeftOut>,
}

/// Reads a recording to its end, holding some lines in memory at a time. The session and its report take roughly at
/// most `memory` bytes; lines beyond that are ignored, as if the file had been cut there.
///
/// # Errors
/// [`ReadError`] if it holds no session. After the first line only errors of the reader are fatal.
pub fn read(mut input: impl BufRead, memory: u64) -> Result<Recording, ReadError> {
    let mut line = Vec::new();
    let ending = bounded_line::next(&mut input, &mut line, LINE_LIMIT)?;
    let header = header(&line, ending)?;
    let mut replay = Replay::new(header, memory);
    thread::scope(|scope| take_all(&mut replay, Lines::new(scope, input)))?;
    Ok(replay.finish())
}

fn take_all(replay: &mut Replay, mut input: Lines<'_, '_, impl BufRead>) -> io::Result<()> {
    let mut number = 1;
    loop {
        let lines = input.next()?;
        if lines.is_empty() {
            return Ok(());
        }
        for line in lines {
            number += 1;
            if !replay.line(number, line) {
                return Ok(());
            }
        }
    }
}

pub(super) fn header(line: &[u8], ending: Ending) -> Result<Header, ReadError> {
    if ending == Ending::Nothing {
        return Err(ReadError::Empty);
    }
    if matches!(ending, Ending::TooLong | Ending::Endless) {
        return Err(ReadError::NotARecording);
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        let began = br#"{"type":"session""#;
        let is_ours = line.starts_with(began) || began.starts_with(line);
        return Err(match (is_ours, ending) {
            (true, Ending::EndOfFile) => ReadError::CutHeader,
            (true, _) => ReadError::DamagedHeader { reason: "it is not JSON".to_owned() },
            (false, _) => ReadError::NotARecording,
        });
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let schema = text("schema");
    if schema.starts_with("tracer.report/") {
        return Err(ReadError::IsAReport);
    }
    if text("type") != kind::SESSION || !schema.starts_with("tracer.session/") {
        return Err(ReadError::NotARecording);
    }
    if schema != SCHEMA {
        let tracer = text("tracer");
        return Err(ReadError::OtherSchema { schema, tracer });
    }
    serde_json::from_value(value)
        .map_err(|fault| ReadError::DamagedHeader { reason: fault.to_string() })
}

/// State of a replay.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    pub(super) header: Header,
    pub(super) session: Session,
    /// Rows that were open at the latest checkpoint and have not been closed since.
    open: BTreeMap<LedgerKey, LedgerRow>,
    /// The latest time in any line.
    pub(super) latest_ns: u64,
    has_ended: bool,
    has_started: bool,
    limits: Limits,
    budget: Budget,
    left_out: Option<LeftOut>,
    damaged: u64,
    first_damage: Option<(u64, String)>,
}

impl Replay {
    pub(super) fn new(header: Header, memory: u64) -> Self {
        let mut session = Session::default();
        session.start_ns = header.start_ns;
        Self {
            latest_ns: header.start_ns,
            header,
            session,
            open: BTreeMap::new(),
            has_ended: false,
            has_started: false,
            limits: Limits::default(),
            budget: Budget::new(memory),
            left_out: None,
            damaged: 0,
            first_damage: None,
        }
    }

    /// Applies the next line, or counts it as damaged; returns whether to go on.
    pub(super) fn line(&mut self, number: u64, line: Outcome) -> bool {
        let Outcome { parsed, ending, length } = line;
        match parsed.and_then(|parsed| self.take(parsed, length)) {
            Ok(()) => {}
            // The last line of a cut file; the missing `end` line already reports the cut.
            Err(_) if ending == Ending::EndOfFile && !self.has_ended => return false,
            Err(fault) => {
                self.damage(number, fault);
                self.left_out = match ending {
                    Ending::Endless => Some(LeftOut::EndlessLine),
                    _ => self.budget.damaged().err(),
                };
            }
        }
        self.left_out.is_none()
    }

    /// Applies a line to the session, as the live run did.
    fn take(&mut self, parsed: Parsed, length: usize) -> Result<(), String> {
        let Parsed { used, line } = parsed;
        if self.has_ended {
            return Err("it comes after the end of the session".to_owned());
        }
        // The line is not damaged, but not applied either.
        if let Err(full) = self.budget.take(&line, length) {
            self.left_out = Some(full);
            return Ok(());
        }
        match line {
            // The next checkpoint replaces this one; it is added to the limits when it is used.
            Line::Checkpoint(_) => Limits::admit(&mut self.limits.clone(), used)?,
            _ => self.limits.admit(used)?,
        }
        match line {
            Line::Event(event) => {
                self.latest_ns = self.latest_ns.max(event.time_ns);
                self.session.apply(&event);
            }
            // A trace starts one command; the search for it walks over all processes.
            Line::StartedHere(_) if self.has_started => {
                return Err("a command was started before".to_owned());
            }
            Line::StartedHere(StartedHere { tgid }) => {
                self.has_started = true;
                self.session.started_here(tgid);
            }
            Line::Survey => self.session.begin_survey(),
            Line::Row(Row { key, row }) => {
                self.open.remove(&key);
                self.session.add_row(key, &row);
            }
            Line::Checkpoint(Checkpoint { time_ns, row }) => {
                self.latest_ns = self.latest_ns.max(time_ns);
                if let Some(Row { key, row }) = row
                    && self.open.insert(key, row).is_none()
                {
                    self.left_out = self.budget.take_row().err();
                }
            }
            Line::Loss(Loss { reason, cell }) => self.session.add_loss(reason, cell),
            Line::End(End { end_ns }) => {
                self.latest_ns = self.latest_ns.max(end_ns);
                self.session.end_ns = end_ns;
                self.has_ended = true;
            }
            Line::Unknown => {}
        }
        Ok(())
    }

    fn damage(&mut self, number: u64, fault: String) {
        self.damaged += 1;
        self.first_damage.get_or_insert((number, fault));
    }

    /// Applies the latest checkpoints.
    pub(super) fn add_open_rows(&mut self) {
        for (key, row) in std::mem::take(&mut self.open) {
            match serde_json::to_value(row).map(|row| self.limits.admit_value(&row)) {
                Ok(Ok(())) => self.session.add_row(key, &row),
                _ => self.damaged += 1,
            }
        }
        self.session.end_ns = self.latest_ns;
    }

    /// The recording. One without an end gets the latest checkpoints.
    pub(super) fn finish(mut self) -> Recording {
        if !self.has_ended {
            self.add_open_rows();
        }
        let is_cut = !self.has_ended;
        let own = [
            (LossReason::RecordingCut, u64::from(is_cut)),
            (LossReason::RecordingDamaged, self.damaged),
        ];
        for (reason, events) in own {
            self.session.add_loss(reason, LossCell { events, bytes: 0 });
        }
        Recording {
            header: self.header,
            session: {
                self.session.join_sandboxes();
                self.session
            },
            is_cut,
            damaged: self.damaged,
            first_damage: self.first_damage,
            left_out: self.left_out,
        }
    }
}
