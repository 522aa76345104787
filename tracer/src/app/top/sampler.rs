//! Copies of a running session, for the view.

use std::time::{Duration, Instant};

use tracer_core::session::Session;
use tracer_loader::{Loader, LoaderError, boot_ns};

use crate::app::pace::Pace;

/// How often a survey is made for the view at most.
const SURVEY: Duration = Duration::from_secs(1);

/// Takes samples, in a small part of the trace's time.
#[derive(Debug)]
pub(in crate::app) struct Sampler {
    pace: Pace,
    next_survey: Instant,
}

impl Sampler {
    pub(in crate::app) fn new() -> Self {
        let now = Instant::now();
        Self { pace: Pace::new(now), next_survey: now }
    }

    /// Whether it is time for a survey.
    pub(in crate::app) fn wants_survey(&mut self, now: Instant) -> bool {
        let wants = now >= self.next_survey;
        if wants {
            self.next_survey = now + SURVEY;
        }
        wants
    }

    /// Takes a sample, unless the latest one has cost too much time.
    pub(in crate::app) fn take(
        &mut self,
        loader: &mut Loader,
        session: &Session,
    ) -> Option<Session> {
        let began = Instant::now();
        if !self.pace.allows(began) {
            return None;
        }
        let sample = sample(loader, session);
        let took = began.elapsed();
        self.pace.took(took, Instant::now());
        tracing::debug!("a copy for the view took {took:?}");
        sample.inspect_err(|error| tracing::debug!("no sample for the view: {error}")).ok()
    }
}

/// The session as it would be if the trace ended now, but for what is looked at in the end.
fn sample(loader: &mut Loader, session: &Session) -> Result<Session, LoaderError> {
    let rows = loader.rows()?;
    let losses = loader.losses()?;
    let mut sample = session.clone();
    sample.end_ns = boot_ns();
    for (key, row) in rows {
        sample.add_row(key, &row);
    }
    for (reason, cell) in losses {
        sample.add_loss(reason.into(), cell);
    }
    Ok(sample)
}
