//! Starts what tells other systems.

use tracer_core::session::LossReason;
use tracer_history::reason;
use tracer_reach::{About, Journal, Listening, Metrics, Otlp, Reach};

use crate::{
    app::{AppError, stderr},
    settings::DaemonSettings,
    sys::privileges::{self, Rights},
};

/// Reasons of gaps that the daemon itself adds.
const OWN_REASONS: [&str; 3] = [reason::JOBS_FULL, reason::CGROUPS_MISSED, reason::CGROUPS_FULL];

/// Starts what the settings name. Threads have no rights.
///
/// # Errors
/// [`AppError`] if the address is in use, if there is no thread, or if there is no journald.
pub(super) fn start(settings: &DaemonSettings) -> Result<Reach, AppError> {
    let spawn = |name: &'static str, work: Box<dyn FnOnce() + Send>| {
        privileges::spawn(name, Rights::None, work).map(drop)
    };
    let failed = |source| AppError::Runtime { source };
    let metrics = settings.metrics.as_ref().map(|address| {
        let listening = Listening::at(address)?;
        let shown = listening.address().clone();
        let reasons = LossReason::all().map(|reason| reason.to_string());
        let reasons = reasons.chain(OWN_REASONS.map(str::to_owned)).collect();
        let about = About { version: env!("CARGO_PKG_VERSION").to_owned(), reasons };
        let metrics = Metrics::start(listening, about, &spawn)?;
        stderr::say(&format!("tracer: metrics at {shown}"));
        Ok::<_, AppError>(metrics)
    });
    let otlp = settings.otlp.as_ref().map(|endpoint| Otlp::start(endpoint, &spawn));
    let journal = settings.journald.then(Journal::start);
    Ok(Reach {
        metrics: metrics.transpose()?,
        otlp: otlp.transpose().map_err(failed)?,
        journal: journal.transpose()?,
    })
}
