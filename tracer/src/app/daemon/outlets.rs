//! Where what is recorded goes: into the history, and to the systems that are told of it.

use tracer_history::{Entry, Gap, Writer};
use tracer_reach::{Journal, Otlp, Reach, Status};

use crate::{
    app::AppError,
    settings::DaemonSettings,
    sys::privileges::{self, Rights},
};

/// Starts what tells other systems. Its threads have no rights.
///
/// # Errors
/// [`AppError`] if there is no thread, or no journald although it is to be told.
pub(super) fn start(settings: &DaemonSettings) -> Result<Reach, AppError> {
    let spawn = |name: &'static str, work: Box<dyn FnOnce() + Send>| {
        privileges::spawn(name, Rights::None, work).map(drop)
    };
    let failed = |source| AppError::Runtime { source };
    let otlp = settings.otlp.as_ref().map(|endpoint| Otlp::start(endpoint, &spawn));
    let journal = settings.journald.then(Journal::start);
    Ok(Reach {
        otlp: otlp.transpose().map_err(failed)?,
        journal: journal.transpose()?,
        ..Reach::default()
    })
}

/// The history, and the systems that are told. No call waits.
pub(super) struct Outlets<'a> {
    history: &'a Writer,
    reach: &'a Reach,
}

impl<'a> Outlets<'a> {
    pub(super) fn new(history: &'a Writer, reach: &'a Reach) -> Self {
        Self { history, reach }
    }

    /// A command was judged.
    pub(super) fn entry(&self, entry: Entry) {
        self.reach.entry(&entry);
        self.history.add(entry);
    }

    /// Something was not seen.
    pub(super) fn gap(&self, gap: Gap) {
        self.reach.gap(&gap);
        self.history.gap(gap);
    }

    /// The recorder is there at this time, microseconds since 1970.
    pub(super) fn alive(&self, now_us: i64, status: &Status) {
        self.reach.status(status);
        self.history.alive(now_us);
    }
}
