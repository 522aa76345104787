//! The source of a running trace: judges samples, and saves reports.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracer_core::{
    event::EventKind,
    report::{self, Report},
    session::{Session, Target},
    snapshot::Snapshot,
    text::escape,
};

use crate::{
    observe::{self, Lookout},
    render::{self, Format, Style, View},
    sys::report_files::ReportFiles,
    top::{Order, Source},
};

/// How often the source looks for a sample.
const TURN: Duration = Duration::from_millis(20);
/// Snapshots are at least this far apart.
pub(in crate::app) const APART: Duration = Duration::from_millis(250);
/// Looking and judging take at most one part in this many of the time, however large the session is.
pub(in crate::app) const SHARE: u32 = 20;
/// How long a look at threads may take.
const LOOK: Duration = Duration::from_secs(1);
/// Columns of a saved report.
const WIDTH: usize = 100;

/// What the trace and the source share. Neither waits for the other.
#[derive(Debug, Default)]
pub(super) struct Slot {
    sample: Mutex<Option<Session>>,
    ended: Mutex<Option<Ended>>,
    is_wanted: AtomicBool,
    has_quit: AtomicBool,
    is_closed: AtomicBool,
}

/// The end of a trace.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) report: Arc<Report>,
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Whether the source wants a sample.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::SeqCst)
    }

    /// Whether the user has quit.
    pub(super) fn has_quit(&self) -> bool {
        self.has_quit.load(Ordering::SeqCst)
    }

    /// Gives the source a sample.
    pub(super) fn put(&self, sample: Session) {
        *lock(&self.sample) = Some(sample);
        self.is_wanted.store(false, Ordering::SeqCst);
    }

    /// The trace has ended.
    pub(super) fn end(&self, ended: Ended) {
        *lock(&self.ended) = Some(ended);
    }

    /// Ends the source, which closes the view.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}

/// What a report needs besides a session.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) target: Target,
    pub(super) start: Timestamp,
    pub(super) stdio_of_interest: Vec<i32>,
    /// Format of saved reports.
    pub(super) format: Format,
}

impl Facts {
    /// The snapshot of a session.
    pub(super) fn snapshot(&self, session: &Session, is_over: bool) -> Snapshot {
        Snapshot::of(session, &self.target, &self.stdio_of_interest, is_over)
    }

    /// The whole report of a session.
    pub(super) fn report(&self, session: &Session) -> Report {
        report::build(session, self.target.clone(), self.start, &self.stdio_of_interest).0
    }
}

/// Helper processes of a view.
#[derive(Debug)]
pub(super) struct Helpers {
    /// Looks at threads, so that the trace's own helpers have nothing more to do.
    pub(super) lookout: Lookout,
    /// Saves reports.
    pub(super) files: ReportFiles,
}

/// Looks at the calls in which threads are blocked. What is not seen in time is left out.
pub(in crate::app) fn look(session: &mut Session, lookout: &mut Lookout) {
    observe::ask_for_blocked_threads(session, lookout, false);
    let seen = lookout.look_until(Instant::now() + LOOK);
    let blocked = seen.into_iter().filter_map(|event| match event {
        EventKind::BlockedThread(thread) => Some(observe::with_object(session, &thread)),
        _ => None,
    });
    session.blocked = blocked.collect();
}

/// Serves a view until the trace closes the slot.
pub(super) fn serve(source: &Source, slot: &Slot, facts: &Facts, helpers: Helpers) {
    let next = Instant::now();
    let mut serving = Serving { source, slot, facts, helpers, latest: None, end: None, next };
    while !slot.is_closed.load(Ordering::SeqCst) {
        if let Some(order) = source.order(TURN) {
            serving.obey(order);
        }
        serving.show_latest();
    }
    source.close();
}

/// A source at work.
struct Serving<'a> {
    source: &'a Source,
    slot: &'a Slot,
    facts: &'a Facts,
    helpers: Helpers,
    /// The latest sample.
    latest: Option<Session>,
    end: Option<Ended>,
    /// When the next sample is wanted.
    next: Instant,
}

impl Serving<'_> {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Quit => {
                self.slot.has_quit.store(true, Ordering::SeqCst);
                // An order comes at once when the view has ended.
                std::thread::sleep(TURN);
            }
            Order::Save => {
                let format = self.facts.format;
                let files = &mut self.helpers.files;
                let saved = match (&self.end, &self.latest) {
                    (Some(end), _) => save(files, &end.report, format),
                    (None, Some(session)) => save(files, &self.facts.report(session), format),
                    (None, None) => "There is nothing to save yet.".to_owned(),
                };
                self.source.notice(saved);
            }
            // The others are for recordings.
            _ => {}
        }
    }

    /// Shows the end or the latest sample, if there is one, and asks for a sample if it is time.
    fn show_latest(&mut self) {
        if let Some(ended) = lock(&self.slot.ended).take() {
            self.source.show(Arc::clone(&ended.snapshot));
            (self.end, self.latest) = (Some(ended), None);
        }
        if self.end.is_some() {
            return;
        }
        let sample = lock(&self.slot.sample).take();
        if let Some(mut session) = sample {
            let began = Instant::now();
            look(&mut session, &mut self.helpers.lookout);
            let looked = began.elapsed();
            self.source.show(Arc::new(self.facts.snapshot(&session, false)));
            let judged = began.elapsed() - looked;
            tracing::debug!("a frame: looked for {looked:?}, judged for {judged:?}");
            self.next = began + APART.max(began.elapsed() * SHARE);
            self.latest = Some(session);
        } else if Instant::now() >= self.next {
            self.slot.is_wanted.store(true, Ordering::SeqCst);
        }
    }
}

/// Saves a report. Returns a sentence about it.
pub(super) fn save(files: &mut ReportFiles, report: &Report, format: Format) -> String {
    let mut text = Vec::new();
    let view = View { all: true, ..View::default() };
    let style = Style { color: false, width: WIDTH };
    let saved =
        render::write(report, format, &view, &style, &mut text).and_then(|()| files.save(&text));
    match saved {
        Ok(path) => format!("Saved the report in {}.", escape(&path.display().to_string())),
        Err(error) => format!("Cannot save the report here: {}.", in_words(&error)),
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the file system does not answer".to_owned(),
        _ => error.to_string(),
    }
}
