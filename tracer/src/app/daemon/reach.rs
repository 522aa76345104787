//! Starts what tells other systems.

use tracer_core::session::LossReason;
use tracer_reach::{About, Listening, Metrics, Reach};

use crate::{
    app::{AppError, stderr},
    settings::DaemonSettings,
    sys::privileges::{self, Rights},
};

/// Reasons of gaps that the daemon itself adds.
const OWN_REASONS: [&str; 3] = ["jobs_full", "cgroups_missed", "cgroups_full"];

/// Starts what the settings name. Threads have no rights.
pub(super) fn start(settings: &DaemonSettings) -> Result<Reach, AppError> {
    let metrics = settings.metrics.as_ref().map(|address| {
        let listening = Listening::at(address)?;
        let shown = listening.address().clone();
        let reasons = LossReason::all().map(|reason| reason.to_string());
        let reasons = reasons.chain(OWN_REASONS.map(str::to_owned)).collect();
        let about = About { version: env!("CARGO_PKG_VERSION").to_owned(), reasons };
        let spawn = |name, work| privileges::spawn(name, Rights::None, work).map(drop);
        let metrics = Metrics::start(listening, about, &spawn)?;
        stderr::say(&format!("tracer: metrics at {shown}"));
        Ok::<_, AppError>(metrics)
    });
    Ok(Reach { metrics: metrics.transpose()?, ..Reach::default() })
}
