//! `tracer daemon --check`.

use std::fmt::Write as _;

use crate::{
    app::{AppError, print},
    scope::CgroupWatch,
    settings::DaemonSettings,
};

/// Checks that this machine can record with these settings, and prints what would be recorded.
///
/// # Errors
/// [`AppError`], as [`daemon`](super::daemon).
pub fn check(settings: &DaemonSettings) -> Result<(), AppError> {
    crate::doctor::preflight()?;
    tracer_history::Writer::check(&settings.history)?;
    let (_watch, cgroups) = CgroupWatch::start(settings.wanted.clone())
        .map_err(|source| AppError::Scope { source })?;
    let mut text = String::new();
    let number = cgroups.len();
    let _ = writeln!(text, "records {}: {number} of its cgroups are there now", settings.scope());
    let _ = writeln!(text, "history: {}", settings.history.display());
    print(text.as_bytes())
}
