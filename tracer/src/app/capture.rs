//! `--capture` and `--show`: what runs beside the trace.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use bytes::Bytes;
use tracer_common::ledger::{LedgerKey, LedgerRow, WRITE};

use super::{AppError, given_back, output, record::Recording};
use crate::{
    capture::{
        INDEX, Keep, SESSION,
        chunk::Chunk,
        folder::Folder,
        writer::{Capture, Options, Source, Watcher},
    },
    loader::{CaptureRing, CaptureScope, KernelSettings},
    render::{Show, Style},
    report::Report,
    session::Session,
    settings::{CaptureSettings, Settings},
};

/// How long the ring is left alone when nothing comes: what a live view lags behind at most.
const LAG: Duration = Duration::from_millis(50);

/// The capture of a run.
pub(super) struct Capturing {
    settings: CaptureSettings,
    /// How the live view looks; `None` without one.
    show: Option<Style>,
    folder: Option<Folder>,
    recover: Option<Folder>,
    running: Option<Capture>,
    /// Whether the trace began: until then nothing is worth keeping.
    has_begun: bool,
}

impl Capturing {
    /// Opens the folders, before anything is attached; `None` when nothing is to be captured.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, AppError> {
        let Some(wanted) = &settings.capture else { return Ok(None) };
        let folder = wanted.directory.as_deref().map(Folder::create).transpose()?;
        let recover = wanted.recover.as_deref().map(Folder::create).transpose()?;
        let show = wanted.show.then(|| Style {
            color: output::wants_color(settings.color, io::stderr().is_terminal()),
            width: output::width_of(&io::stderr()),
        });
        let settings = wanted.clone();
        Ok(Some(Self { settings, show, folder, recover, running: None, has_begun: false }))
    }

    /// What the kernel side must know.
    pub(super) fn scope(&self) -> CaptureScope {
        // Of the last bytes, any may be one.
        let keeps_first = self.folder.is_some() && self.settings.keep == Keep::First;
        CaptureScope {
            ring_bytes: self.settings.ring_bytes,
            limit: keeps_first.then_some(self.settings.limit),
        }
    }

    /// The recording that the folder holds; `None` without a folder.
    pub(super) fn recording(&self) -> Result<Option<Recording>, AppError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = folder.create_file(SESSION)?;
        Ok(Some(Recording::into(file, folder.path().join(SESSION))))
    }

    /// Starts the threads; to be done before anything is attached.
    pub(super) fn start(&mut self, ring: CaptureRing) -> Result<(), AppError> {
        let watcher = self.show.map(|style| {
            let CaptureSettings { raw, redact, .. } = &self.settings;
            let show = Show::new(style, *raw, redact.clone());
            Box::new(LiveView { show, text: Vec::new() }) as Box<dyn Watcher>
        });
        let options = Options { limit: Some(self.settings.limit), keep: self.settings.keep };
        let running = Capture::start(ring, self.folder.take(), options, watcher)
            .map_err(|source| AppError::Capture { source })?;
        self.running = Some(running);
        Ok(())
    }

    /// From now on there is something to keep.
    pub(super) fn begins(&mut self) {
        self.has_begun = true;
    }

    /// Takes in what is left, now that nothing is attached any more.
    pub(super) fn finish(&mut self, session: &Session, kernel: &KernelSettings) {
        let Some(running) = self.running.take() else { return };
        let ended = running.finish(rows(session, kernel));
        if ended.undecodable > 0 {
            tracing::warn!(
                "{} captured records could not be read: their bytes are gaps",
                ended.undecodable
            );
        }
    }

    /// Adds to the report what was captured, and gives back what was lost.
    pub(super) fn report(&self, session: &Session, report: &mut Report) {
        let Some(directory) = &self.settings.directory else { return };
        let told = Folder::open(directory).map_err(AppError::from).and_then(|folder| {
            let redact = self.settings.redact.as_ref();
            given_back::add(report, session, &folder, redact, self.recover.as_ref())
        });
        if let Err(error) = told {
            tracing::warn!("the captured output is not in the report: {error}");
        }
    }
}

impl Drop for Capturing {
    /// Removes what a run made that never began, so that the next one finds the place empty.
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        if let Some(directory) = &self.settings.directory {
            for name in [INDEX, SESSION] {
                let _ = std::fs::remove_file(directory.join(name));
            }
            let _ = std::fs::remove_dir(directory);
        }
        if let Some(recover) = &self.recover {
            let _ = std::fs::remove_dir(recover.path());
        }
    }
}

/// The rows whose bytes were to be captured.
fn rows(session: &Session, kernel: &KernelSettings) -> Vec<(LedgerKey, LedgerRow)> {
    let is_wanted = |fd: i32| {
        kernel.all_fds || u32::try_from(fd).is_ok_and(|fd| fd < 64 && kernel.fd_mask >> fd & 1 == 1)
    };
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
                && (was_captured || is_target(key) && is_wanted(key.fd))
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
    /// What goes to the terminal in one piece.
    text: Vec<u8>,
}

impl LiveView {
    fn print(&mut self, lines: impl FnOnce(&mut Show, &mut Vec<u8>) -> io::Result<()>) {
        // Writing into memory does not fail, and a closed standard error silences the view.
        let _ = lines(&mut self.show, &mut self.text);
        if !self.text.is_empty() {
            let _ = io::stderr().lock().write_all(&self.text);
            self.text.clear();
        }
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
