//! `tracer daemon --check`.

use tracer_core::{capture::tails::TailLimits, text::units};
use tracer_reach::Journal;

use super::tails::RING;
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
    if settings.journald {
        drop(Journal::start()?);
    }
    let DaemonSettings { history, limits, .. } = settings;
    let days = limits.age.as_secs_f64() / 86_400.0;
    let size = units::bytes(limits.bytes);
    let text = format!(
        "tracer can record {}. The history in {} keeps {days:.1} days, and {size} at most.\n",
        settings.scope(),
        history.display(),
    );
    print(format!("{text}{}{}{}", tails(settings), metrics(settings), told(settings)).as_bytes())
}

/// Where metrics can be asked for, if they can.
fn metrics(settings: &DaemonSettings) -> String {
    let Some(address) = &settings.metrics else { return String::new() };
    let by_all = if address.is_open() { ", by all machines that reach this address" } else { "" };
    format!("Metrics can be asked for at {address}{by_all}.\n")
}

/// Who is told of findings, and whether others can read it on the way.
fn told(settings: &DaemonSettings) -> String {
    let otlp = settings.otlp.as_ref().map(|endpoint| {
        let is_open = if endpoint.is_local() { "" } else { ", and leave this machine unencrypted" };
        format!("Findings and lost bytes go to the collector at {endpoint}{is_open}.\n")
    });
    let journald = if settings.journald { "Findings go to journald.\n" } else { "" };
    format!("{}{journald}", otlp.unwrap_or_default())
}

/// What is kept of output, if something is.
fn tails(settings: &DaemonSettings) -> String {
    let Some(TailLimits { stream, total }) = settings.tails() else { return String::new() };
    let [stream, total, ring] = [stream as u64, total as u64, RING.into()].map(units::bytes);
    format!(
        "Of lost output the last {stream} of each stream are written into the history. The ends of all streams take at most \
         {total} of memory, and {ring} in the kernel.\n"
    )
}
