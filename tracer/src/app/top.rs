//! `tracer top`: what a trace and a recording give to the view.
//!
//! ```text
//! trace ──▶ Sampler ──▶ one slot ──▶ thread "top-source" ──▶ Snapshot ──▶ thread "top-view"
//! ```
//!
//! The trace copies its session when the source wants a sample, and goes on. The source looks at threads, judges the
//! copy, and the view draws it, in threads of their own that have no capabilities. Each step takes at most a small part of the time: the larger the
//! session, the rarer the snapshots.

mod kept;
mod play;
mod sampler;
mod source;
mod watch;

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::stdio::dup2_stdin;
use tracer_core::{
    report::Report,
    session::{Session, Target},
};
use tracer_loader::Loader;

pub(super) use self::kept::KeptOutput;
pub(super) use self::sampler::Sampler;
pub(super) use self::source::{APART, SHARE, look};
use self::source::{Ended, Facts, Helpers, Slot, serve};
pub use self::{play::play, watch::watch};
use super::{AppError, End, lines, output::wants_color, replay::recovered};
use crate::{
    launch::{self, Launch, Launched},
    observe::Lookout,
    render::Format,
    settings::{ColorChoice, Settings},
    sys::{
        privileges::{self, Rights},
        report_files::ReportFiles,
    },
    top::{self, Screen},
};

/// How often a wait for the user looks for a signal.
const TURN: Duration = Duration::from_millis(20);
/// How long a view may take to close.
const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// What a view needs and what only a process with one thread can start: helper processes.
#[derive(Debug)]
pub(super) struct Before {
    screen: Screen,
    lookout: Lookout,
    files: ReportFiles,
    color: bool,
    format: Format,
}

/// The view of a trace that runs. Dropping this closes it, and restores the terminal.
#[derive(Debug)]
pub(super) struct Live {
    slot: Arc<Slot>,
    facts: Arc<Facts>,
    sampler: Sampler,
    view: JoinHandle<()>,
}

impl Before {
    /// Opens the terminal and forks the helpers, if the settings want a view.
    pub(super) fn start(settings: &Settings) -> Result<Option<Self>, AppError> {
        if !settings.is_top {
            return Ok(None);
        }
        let screen = open_screen()?;
        let (files, lookout) = (report_files(settings.format)?, Lookout::start());
        let color = wants_color(settings.color, true);
        Ok(Some(Self { screen, lookout, files, color, format: settings.format }))
    }

    /// Shows the view. Lines for standard error wait until it is closed.
    pub(super) fn show(
        self,
        target: &Target,
        start: Timestamp,
        settings: &Settings,
    ) -> Result<Live, AppError> {
        let failed = |source| AppError::Runtime { source };
        let Self { screen, lookout, files, color, format } = self;
        let facts = Arc::new(Facts {
            target: target.clone(),
            start,
            stdio_of_interest: settings.stdio_of_interest.clone(),
            format,
        });
        let slot = Arc::new(Slot::default());
        let (source, view) = top::link();
        let theirs = (Arc::clone(&slot), Arc::clone(&facts));
        privileges::spawn("top-source", Rights::None, move || {
            serve(&source, &theirs.0, &theirs.1, Helpers { lookout, files });
        })
        .map_err(failed)?;
        lines::hold();
        let view = show(screen, view, color).inspect_err(|_| lines::release()).map_err(failed)?;
        Ok(Live { slot, facts, sampler: Sampler::new(), view })
    }
}

/// Shows the end of a trace until the user quits, or until a signal comes. Does nothing if one has ended the trace.
pub(super) fn stay(view: Option<Live>, session: &Session, report: &Arc<Report>, end: &mut End) {
    if let Some(view) = view.filter(|_| !end.was_stopped()) {
        view.stay(session, report, || end.is_told_to_stop());
    }
}

/// The terminal, or one sentence.
fn open_screen() -> Result<Screen, AppError> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb");
    let opened = if is_dumb {
        Err(io::Error::other("TERM names one that cannot move its cursor, or none"))
    } else {
        Screen::open()
    };
    opened.map_err(|source| AppError::NoTerminal { source })
}

/// The files of saved reports.
fn report_files(format: Format) -> Result<ReportFiles, AppError> {
    let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let extension = match format {
        Format::Human => ".txt",
        Format::Json => ".json",
        Format::Ndjson => ".ndjson",
        Format::Html => ".html",
        Format::Dot => ".dot",
        Format::Mermaid => ".mmd",
    };
    ReportFiles::fork(format!("tracer-report-{stamp}"), extension)
        .map_err(|source| AppError::Runtime { source })
}

/// Starts the thread that draws.
fn show(screen: Screen, view: top::View, color: bool) -> io::Result<JoinHandle<()>> {
    privileges::spawn("top-view", Rights::None, move || {
        if let Err(error) = top::run(screen, &view, color) {
            tracing::warn!("the view has ended: {error}");
        }
    })
}

impl super::Run {
    /// Whether a survey would say something new.
    pub(super) fn wants_survey(&mut self) -> bool {
        self.collector.wants_survey() || self.view.as_mut().is_some_and(Live::wants_survey)
    }

    /// Serves the view, if there is one. Returns whether the user has quit.
    pub(super) fn serves_view_to_end(&mut self) -> bool {
        let Some(view) = &mut self.view else { return false };
        view.turn(&mut self.loader, &self.collector.session);
        view.has_quit()
    }
}

impl Live {
    /// Whether the user has quit.
    fn has_quit(&self) -> bool {
        self.slot.has_quit()
    }

    /// Whether a survey would make the next snapshot better.
    fn wants_survey(&mut self) -> bool {
        self.slot.is_wanted() && self.sampler.wants_survey(Instant::now())
    }

    /// Gives the source a sample if it wants one. Does not wait.
    fn turn(&mut self, loader: &mut Loader, session: &Session) {
        if self.slot.is_wanted()
            && let Some(sample) = self.sampler.take(loader, session)
        {
            self.slot.put(sample);
        }
    }

    /// Shows the end of the trace until the user quits, or until `is_stopped`.
    fn stay(self, session: &Session, report: &Arc<Report>, mut is_stopped: impl FnMut() -> bool) {
        let mut snapshot = self.facts.snapshot(session, true);
        snapshot.recovered = recovered(report);
        self.slot.end(Ended { snapshot: Arc::new(snapshot), report: Arc::clone(report) });
        while !self.has_quit() && !is_stopped() {
            std::thread::sleep(TURN);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.slot.close();
        close(&self.view);
    }
}

/// Waits for the thread that draws, and then writes the lines that waited. A thread that does not end keeps nothing: the
/// terminal is restored without it.
fn close(view: &JoinHandle<()>) {
    let began = Instant::now();
    while !view.is_finished() && began.elapsed() < LAST_MOMENTS {
        std::thread::sleep(TURN);
    }
    top::restore();
    lines::release();
}

/// Starts a command whose output cannot be on the terminal of the view. One that would write there gets a terminal of its
/// own, and its output is kept; otherwise it has the streams that tracer was given, except the keyboard.
pub(super) fn start(launch: &Launch) -> Result<(Launched, Option<KeptOutput>), AppError> {
    let failed = |source| AppError::Runtime { source };
    let on_terminal = [io::stdout().is_terminal(), io::stderr().is_terminal()];
    match on_terminal {
        _ if launch.pty => {}
        [true, true] => {}
        [false, false] => {
            if io::stdin().is_terminal() {
                let nothing = File::open("/dev/null").map_err(failed)?;
                dup2_stdin(nothing).map_err(|error| failed(error.into()))?;
            }
            return Ok((launch::start(launch)?, None));
        }
        [out, _] => {
            let [on, off] = if out { ["stdout", "stderr"] } else { ["stderr", "stdout"] };
            return Err(AppError::HalfOnTerminal { on, off });
        }
    }
    let (kept, output) = KeptOutput::start().map_err(failed)?;
    let launch = Launch { pty: true, ..launch.clone() };
    Ok((launch::start_apart(&launch, output)?, Some(kept)))
}

/// Whether colours are used, for a recording.
fn color(choice: ColorChoice) -> bool {
    wants_color(choice, true)
}
