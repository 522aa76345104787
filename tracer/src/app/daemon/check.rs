//! `tracer daemon --check`.

use tracer_core::text::units;

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
    drop(CgroupWatch::start(&settings.wanted)?);
    let DaemonSettings { history, limits, .. } = settings;
    let days = limits.age.as_secs_f64() / 86_400.0;
    let size = units::bytes(limits.bytes);
    print(
        format!(
            "tracer can record {}. The history in {} keeps {days:.1} days, and {size} at most.\n",
            settings.scope(),
            history.display(),
        )
        .as_bytes(),
    )
}
