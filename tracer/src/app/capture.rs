//! `--capture` and `--show`: the threads that run beside the trace.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use bytes::Bytes;
use tracer_common::ledger::{LedgerKey, LedgerRow, WRITE};
use tracer_core::{
    capture::{INDEX, Keep, SESSION, chunk::Chunk, summary::Summary},
    report::Report,
    session::Session,
    verdict::Case,
};
use tracer_loader::{CaptureRing, CaptureScope, KernelSettings};

use super::{
    AppError,
    end::{End, STALLED},
    output,
    recovery::Recovery,
    stderr::put,
};
use crate::{
    capture::{
        Options,
        process::CaptureProcess,
        writer::{Capture, Source, Watcher},
    },
    render::{Show, Style},
    settings::{CaptureSettings, Settings},
};

/// How long the reader leaves an empty ring alone. A live view is at most this late.
const LAG: Duration = Duration::from_millis(50);

/// Why a capture that was not written in time is incomplete.
const UNWRITTEN: &str = "not all of it was written";

/// The capture of a run.
pub(super) struct Capturing {
    settings: CaptureSettings,
    /// Style of the live view; `None` without one.
    show: Option<Style>,
    /// Has the folder, if there is one.
    process: Option<CaptureProcess>,
    running: Option<Capture>,
    /// What was stored, when all of it is.
    summary: Option<Summary>,
    /// Whether the trace has begun. Before that there is nothing to keep.
    has_begun: bool,
}

impl Capturing {
    /// Opens the folders, before anything is attached. `None` if nothing is to be captured.
    pub(super) fn open(
        settings: &Settings,
        mut process: Option<CaptureProcess>,
    ) -> Result<Option<Self>, AppError> {
        let Some(wanted) = &settings.capture else { return Ok(None) };
        process.as_mut().map_or(Ok(()), CaptureProcess::open)?;
        let show = wanted.show.then(|| Style {
            color: output::wants_color(settings.color, io::stderr().is_terminal()),
            width: output::width_of(&io::stderr()),
        });
        let settings = wanted.clone();
        Ok(Some(Self { settings, show, process, running: None, summary: None, has_begun: false }))
    }

    /// The settings for the eBPF programs.
    pub(super) fn scope(&self) -> CaptureScope {
        // Every byte may be one of the last ones, and the live view shows all bytes.
        let wants_all = self.settings.show || self.settings.keep == Keep::Last;
        let keeps_first = self.process.is_some() && !wants_all;
        CaptureScope {
            ring_bytes: self.settings.ring_bytes,
            limit: keeps_first.then_some(self.settings.limit),
        }
    }

    /// Starts the threads. This must happen before anything is attached.
    pub(super) fn start(&mut self, ring: CaptureRing) -> Result<(), AppError> {
        let watcher = self.show.map(|style| {
            let CaptureSettings { raw, redact, .. } = &self.settings;
            let show = Show::new(style, *raw, redact.clone());
            Box::new(LiveView { show, text: Vec::new() }) as Box<dyn Watcher>
        });
        let CaptureSettings { limit, keep, max, reserve, .. } = self.settings;
        let options = Options { limit: Some(limit), keep, max: Some(max), reserve };
        let running = match &mut self.process {
            Some(process) => Capture::feed(ring, process.store(options)?, watcher),
            None => Capture::start(ring, None, options, watcher),
        };
        self.running = Some(running.map_err(|source| AppError::Capture { source })?);
        Ok(())
    }

    /// The trace has begun.
    pub(super) fn begins(&mut self) {
        self.has_begun = true;
    }

    /// Writes what is left, after everything is detached. Disk and terminal may take as long as they need. A signal
    /// ends the wait: one that comes now, or the one that ended the trace if they stand still.
    pub(super) fn finish(&mut self, session: &Session, kernel: &KernelSettings, end: &mut End<'_>) {
        let Some(running) = self.running.take() else { return };
        let rows = rows(session, kernel);
        let Some(process) = &mut self.process else {
            return match running.finish(rows, end.waiting()) {
                Some(summary) => Self::log(&summary),
                None => {
                    tracing::error!("not all output was shown: standard error is read too slowly");
                }
            };
        };
        if !running.stop(end.waiting()) {
            return self.cut_short(UNWRITTEN);
        }
        match process.finish(&rows, end.waiting()) {
            Ok((summary, is_cut)) => {
                Self::log(&summary);
                if is_cut {
                    tracing::error!(
                        "the capture {} is incomplete: its disk was too slow after the signal, and what waited for it \
                         are gaps",
                        process.path().display()
                    );
                }
                self.summary = Some(summary);
            }
            Err(error) => self.cut_short(&error.to_string()),
        }
    }

    fn cut_short(&mut self, why: &str) {
        // What is in the folder is read for the report. If it does not answer, neither would that.
        if let Some(process) = &mut self.process {
            process.give_up();
        }
        tracing::error!("the capture was cut short: {why}");
    }

    fn log(summary: &Summary) {
        let Summary { undecodable, is_index_incomplete, .. } = summary;
        if *undecodable > 0 {
            tracing::warn!("{undecodable} captured records could not be read: they are gaps");
        }
        if *is_index_incomplete {
            tracing::warn!(
                "the index of the capture is incomplete: `tracer report` will know less"
            );
        }
    }

    /// Adds the captured output to the report, and recovers what was lost.
    pub(super) fn report(&mut self, case: &Case<'_>, report: &mut Report, end: &mut End<'_>) {
        // Without a summary the process was given up.
        let (Some(process), Some(summary)) = (&mut self.process, self.summary.take()) else {
            return;
        };
        let mut waits = end.waiting();
        let back = Recovery {
            stored: &mut process.stored(&mut waits),
            redact: self.settings.redact.as_ref(),
            known: Some(summary.streams),
        };
        if let Err(error) = back.add_to(report, case) {
            tracing::warn!("the captured output is not in the report: {error}");
        }
    }
}

impl Drop for Capturing {
    /// Removes the files of a run that did not begin, so that the next run finds the folder empty.
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        let running = self.running.take();
        let has_stopped = running.is_none_or(|running| running.stop(|idle| idle < STALLED));
        match &mut self.process {
            Some(process) if has_stopped => process.take_back(&[INDEX, SESSION]),
            // A record may have been sent in part.
            Some(process) => process.give_up(),
            None => {}
        }
    }
}

/// The rows whose bytes are captured.
fn rows(session: &Session, kernel: &KernelSettings) -> Vec<(LedgerKey, LedgerRow)> {
    let is_target = |key: &LedgerKey| {
        session.processes.get(&key.process).is_some_and(|process| process.is_target)
    };
    session
        .ledger
        .iter()
        .filter(|(key, row)| {
            let was_captured = row.captured > 0 || row.uncaptured > 0;
            let was_opened = !key.object.is_none();
            key.direction == WRITE
                && was_opened
                && (was_captured || is_target(key) && kernel.is_of_interest(key.fd))
        })
        .map(|(key, row)| (*key, *row))
        .collect()
}

impl Source for CaptureRing {
    fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        Self::wait(self, at_most.min(LAG))
    }

    fn drain(&mut self) -> Vec<Bytes> {
        Self::drain(self)
    }
}

/// `--show`: lines on standard error.
struct LiveView {
    show: Show,
    /// Text that goes to the terminal in one write.
    text: Vec<u8>,
}

impl LiveView {
    fn print(&mut self, lines: impl FnOnce(&mut Show, &mut Vec<u8>) -> io::Result<()>) {
        // Writing into memory does not fail, and a closed standard error ends the view.
        let _ = lines(&mut self.show, &mut self.text);
        let _ = put(&self.text);
        self.text.clear();
    }
}

impl Watcher for LiveView {
    fn see(&mut self, chunk: &Chunk) {
        self.print(|show, out| show.see(chunk, out));
    }

    fn idle(&mut self) {
        self.print(|show, out| show.idle(out));
    }

    fn end(&mut self) {
        self.print(|show, out| show.end(out));
    }
}
