//! `--record`: writes what the session gets to a file. A failing disk does not stop the trace.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    loss::LossCell,
};
use tracer_core::{
    event::Event,
    recording::{Header, Recorder},
    session::{LossReason, Target},
};
use tracer_loader::Loader;

use super::AppError;
use crate::sys::{
    limits::in_words,
    user_file::{UserFile, UserPath},
};

/// How often rows that are only in the kernel are saved. A killed run loses at most this much.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// How many bytes wait for a disk. A slow disk then costs the rest of the recording, but no events.
const MOST_WAITING: usize = 32 << 20;
/// Reading the ledger takes at most one part in this many of the time, however large the ledger is.
const SHARE: u32 = 20;

/// The recording of a run; does nothing if none was asked for.
#[derive(Default)]
pub(super) struct Recording {
    kept: Option<Kept>,
}

/// A file with a size limit.
struct Limited<W> {
    file: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it reached --record-limit"));
        }
        let written = self.file.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Kept {
    recorder: Recorder<Limited<UserFile>>,
    path: PathBuf,
    next_checkpoint: Instant,
}

impl Recording {
    /// Opens the file in the same way as `-o`, and records at most `limit` bytes. A file that has something in it is
    /// refused: it may be a session.
    pub(super) fn open(file: Option<UserPath>, limit: u64) -> Result<Self, AppError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let path = file.path().to_owned();
        let file = file
            .open(MOST_WAITING)
            .map_err(|source| AppError::Record { path: path.clone(), source })?;
        if file.size() > 0 {
            return Err(AppError::RecordExists { path });
        }
        let next_checkpoint = Instant::now() + CHECKPOINT;
        let recorder = Recorder::new(Limited { file, left: limit });
        Ok(Self { kept: Some(Kept { recorder, path, next_checkpoint }) })
    }

    pub(super) fn begin(
        &mut self,
        target: &Target,
        start: Timestamp,
        start_ns: u64,
        stdio_of_interest: &[i32],
    ) {
        self.with(|recorder| {
            let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
            let header = Header::new(kernel, target.clone(), start, start_ns);
            recorder.header(&Header { stdio_of_interest: stdio_of_interest.to_vec(), ..header })
        });
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.with(|recorder| recorder.event(event));
    }

    pub(super) fn started_here(&mut self, tgid: u32) {
        self.with(|recorder| recorder.started_here(tgid));
    }

    pub(super) fn begin_survey(&mut self) {
        self.with(Recorder::begin_survey);
    }

    pub(super) fn row(&mut self, key: LedgerKey, row: &LedgerRow) {
        self.with(|recorder| recorder.row(key, row));
    }

    pub(super) fn loss(&mut self, reason: &LossReason, cell: LossCell) {
        self.with(|recorder| recorder.loss(reason, cell));
    }

    /// Gives everything to the system, so that a killed run keeps it.
    pub(super) fn flush(&mut self) {
        self.with(Recorder::flush);
    }

    /// Saves the rows that are still open in the kernel, if it is time for that.
    pub(super) fn checkpoint(&mut self, loader: &mut Loader, boot_ns: impl FnOnce() -> u64) {
        let began = Instant::now();
        if self.kept.as_ref().is_none_or(|kept| began < kept.next_checkpoint) {
            return;
        }
        match loader.rows() {
            Ok(rows) => self.with(|recorder| recorder.checkpoint(boot_ns(), &rows)),
            Err(error) => tracing::warn!("cannot save the open rows: {error}"),
        }
        if let Some(kept) = &mut self.kept {
            let pause = CHECKPOINT.max(began.elapsed().saturating_mul(SHARE));
            kept.next_checkpoint = Instant::now() + pause;
        }
    }

    /// Writes the last line.
    pub(super) fn end(&mut self, end_ns: u64) {
        self.with(|recorder| recorder.end(end_ns));
    }

    /// Waits until the file is written, for as long as `waits` says, and reports what is missing.
    pub(super) fn close(self, waits: impl FnMut(Duration) -> bool) {
        let Some(Kept { recorder, path, .. }) = self.kept else { return };
        let unwritten = recorder.unwritten();
        if unwritten > 0 {
            tracing::warn!(
                "the recording {} is cut: {unwritten} lines could not be written",
                path.display()
            );
        } else if let Some(Limited { mut file, .. }) = recorder.into_writer()
            && let Err(error) = file.finish(waits)
        {
            tracing::warn!("the recording {} is cut: {}", path.display(), in_words(&error));
        }
    }

    /// Reports only the first error of a recorder.
    fn with(&mut self, write: impl FnOnce(&mut Recorder<Limited<UserFile>>) -> io::Result<()>) {
        if let Some(Kept { recorder, path, .. }) = &mut self.kept
            && let Err(error) = write(recorder)
        {
            tracing::warn!(
                "cannot record to {}: {}; the trace goes on, the recording is cut here",
                path.display(),
                in_words(&error)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_limit_ends_before_it() {
        let mut limited = Limited { file: Vec::new(), left: 10 };
        limited.write_all(b"0123456").unwrap();
        let error = limited.write_all(b"0123456").unwrap_err();
        assert!(error.to_string().contains("--record-limit"), "{error}");
        assert_eq!(limited.file, b"0123456");
    }
}
