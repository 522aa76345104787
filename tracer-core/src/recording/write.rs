//! Writes a recording, line by line, while the trace runs.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    loss::LossCell,
};

use super::line::{Checkpoint, End, Header, Loss, Row, StartedHere, Survey, kind, prune};
use crate::{event::Event, session::LossReason, text::json};

/// Writes the input of a session. The first error ends the recording, not the trace: later lines are only counted, so
/// the file is a prefix without gaps.
pub struct Recorder<W: Write> {
    /// `None` after an error.
    out: Option<BufWriter<W>>,
    unwritten: u64,
    /// Open rows as they were written last: those that did not change are not written again.
    open: BTreeMap<LedgerKey, LedgerRow>,
}

impl<W: Write> Recorder<W> {
    /// A recording written to `out`; write the header first.
    pub fn new(out: W) -> Self {
        Self { out: Some(BufWriter::new(out)), unwritten: 0, open: BTreeMap::new() }
    }

    /// Number of lines that were not written because of an error.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Writes the first line.
    ///
    /// # Errors
    /// The first error of the writer; later calls return none.
    pub fn header(&mut self, header: &Header) -> io::Result<()> {
        let body = serde_json::to_value(header)?;
        self.put(kind::SESSION, &body)?;
        self.flush()
    }

    /// Writes an event that was applied to the session.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line(kind::EVENT, event)
    }

    /// Writes that tracer itself started a process.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn started_here(&mut self, tgid: u32) -> io::Result<()> {
        self.line(kind::STARTED_HERE, &StartedHere { tgid })
    }

    /// Writes that a survey of holders begins.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn begin_survey(&mut self) -> io::Result<()> {
        self.line(kind::SURVEY, &Survey {})
    }

    /// Writes a row that was taken out of the kernel.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn row(&mut self, key: LedgerKey, row: &LedgerRow) -> io::Result<()> {
        self.open.remove(&key);
        self.line(kind::ROW, &Row { key, row: *row })
    }

    /// Writes the rows that are still open in the kernel and have changed.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn checkpoint(&mut self, time_ns: u64, rows: &[(LedgerKey, LedgerRow)]) -> io::Result<()> {
        let mut changed = false;
        for (key, row) in rows {
            if self.open.get(key) != Some(row) {
                self.open.insert(*key, *row);
                let row = Some(Row { key: *key, row: *row });
                self.line(kind::CHECKPOINT, &Checkpoint { time_ns, row })?;
                changed = true;
            }
        }
        if !changed {
            self.line(kind::CHECKPOINT, &Checkpoint { time_ns, row: None })?;
        }
        self.flush()
    }

    /// Writes a loss, unless it is zero.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn loss(&mut self, reason: &LossReason, cell: LossCell) -> io::Result<()> {
        if cell == LossCell::default() {
            return Ok(());
        }
        self.line(kind::LOSS, &Loss { reason: reason.clone(), cell })
    }

    /// Writes the last line.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn end(&mut self, end_ns: u64) -> io::Result<()> {
        self.line(kind::END, &End { end_ns })?;
        self.flush()
    }

    /// Flushes the lines so far to the operating system, so that they survive if tracer is killed.
    ///
    /// # Errors
    /// As [`Recorder::header`].
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.out.as_mut().map_or(Ok(()), Write::flush);
        self.close_on_error(result)
    }

    /// The writer, which has all lines if [`Recorder::flush`] gave no error. `None` after an error.
    #[must_use]
    pub fn into_writer(self) -> Option<W> {
        self.out.map(|out| out.into_parts().0)
    }

    fn line<T: Serialize + DeserializeOwned>(&mut self, kind: &str, body: &T) -> io::Result<()> {
        let mut value = serde_json::to_value(body)?;
        prune(&mut value);
        debug_assert_eq!(
            serde_json::from_value::<T>(value.clone())
                .ok()
                .and_then(|again| serde_json::to_value(again).ok()),
            serde_json::to_value(body).ok(),
            "reading must give back what was left out"
        );
        self.put(kind, &value)
    }

    fn put(&mut self, kind: &str, body: &Value) -> io::Result<()> {
        let Some(out) = &mut self.out else {
            self.unwritten += 1;
            return Ok(());
        };
        let result = json::harmless_line(&Typed { kind, body }, out);
        self.close_on_error(result)
    }

    fn close_on_error(&mut self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err()
            && let Some(out) = self.out.take()
        {
            // Dropping the `BufWriter` would try to write the rest again.
            drop(out.into_parts());
            self.unwritten += 1;
        }
        result
    }
}

/// A body with its type in front.
#[derive(Serialize)]
struct Typed<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: &'a Value,
}
