//! One run: resolves the target, loads, attaches, collects, judges and renders.

mod attach;
mod begin;
mod capture;
mod collect;
mod daemon;
mod doctor;
mod end;
mod error;
mod explain;
mod export;
mod guests;
mod handover;
mod history;
mod lifetimes;
mod lines;
mod live;
mod live_targets;
mod log;
mod memory;
mod newcomer;
mod old_calls;
mod output;
mod over;
mod pace;
mod progress;
mod record;
mod recovery;
mod replay;
mod run;
mod signals;
mod stderr;
mod subject;
mod survey;
mod text;
mod top;

use std::{process::ExitStatus, sync::Arc, time::Duration};

use tracer_core::report::{self, Report};
use tracer_loader::KernelSettings;

use self::{
    begin::{Helpers, announce, ensure_alive, unused},
    capture::Capturing,
    end::{End, STALLED},
    guests::Guests,
    output::{Destination, Form},
    progress::Attaching,
    record::Recording,
    run::{Run, Started, attached},
    signals::Signals,
    subject::{Subject, resolve},
    top::KeptOutput,
};
use crate::{
    settings::Settings,
    sys::{
        inherited::{Descriptors, Spare},
        limits,
        signal::{die_of, ignore_file_size, ignore_terminal_stops},
    },
};

pub use self::{
    daemon::{check as check_daemon, daemon, detach as detach_daemon},
    doctor::doctor,
    error::AppError,
    explain::explain,
    export::export,
    guests::gvisor_config,
    history::{history, why},
    log::init as init_log,
    replay::{Replayed, replay},
    text::{print, version},
    top::{play, watch},
};

/// How a trace ended.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    /// Whether not all output arrived.
    pub has_loss: bool,
    /// How the command ended; `None` if it still runs, or if tracer started none.
    pub command: Option<ExitStatus>,
}

/// Traces until the target has ended, the time is up, or a signal stops it. Then writes the report.
///
/// # Errors
/// [`AppError`], one sentence each.
pub fn trace(settings: &Settings) -> Result<Traced, AppError> {
    let result = run(settings);
    if result.is_err() {
        // Warnings come before the error.
        stderr::settle(|idle| idle > STALLED);
    }
    match result {
        // Everything is cleaned up: the files of the run, and a command that was not started.
        Err(AppError::Interrupted { signal }) => die_of(signal),
        result => result,
    }
}

fn run(settings: &Settings) -> Result<Traced, AppError> {
    let inherited = Descriptors::of_this_process();
    ignore_file_size();
    // A view in the background must not change the terminal's settings; its command has a terminal of its own.
    if !settings.is_top {
        ignore_terminal_stops();
    }
    limits::raise_files();
    let Helpers { observers, report, lines, session, capture } = Helpers::start(settings)?;
    let mut guests = Guests::start(&settings.kernel, settings.capture.is_some())?;
    let view = top::Before::start(settings)?;
    let mut signals = Signals::listen()?;
    stderr::start().map_err(|source| AppError::Runtime { source })?;
    crate::doctor::preflight()?;
    guests.listen();
    let mut destination = Destination::open(&settings.output, report, Form::of(settings))?;
    let capturing = Capturing::open(settings, capture)?;
    let recording = Recording::open(session, settings.record_limit)?;
    let mut kernel = settings.kernel.clone();
    kernel.capture = capturing.as_ref().map(Capturing::scope);
    let subject = resolve(settings, lines, &mut kernel, &mut guests)?;
    signals.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Runtime { source })?;
    let live = destination.live(settings)?;
    let outcome = runtime.block_on(record(
        settings,
        &kernel,
        subject,
        Around { inherited, view, started: Started { observers, guests, live, recording } },
        capturing,
        &mut signals,
    ));
    runtime.shutdown_background();
    let Outcome { report, command, was_stopped, kept } = outcome?;
    signals.reports();
    let mut end = End::of(&mut signals, was_stopped);
    // A terminal that takes nothing must not keep a report from its file.
    let (before, after) = if destination.is_file() { (None, kept) } else { (kept, None) };
    before.into_iter().for_each(|kept| kept.print(|idle| end.waits(idle)));
    stderr::settle(|idle| idle > STALLED);
    let written = destination.write(&report);
    let written = written.and_then(|()| destination.close(|idle| end.waits(idle)));
    after.into_iter().for_each(|kept| kept.print(|idle| end.waits(idle)));
    if let Err(error) = written {
        // The report of a file that failed goes to standard error instead.
        destination.write_after_failure(&report)?;
        return Err(error);
    }
    stderr::settle(|idle| was_stopped && idle > STALLED);
    let has_loss = report.has_loss();
    leak(report);
    Ok(Traced { has_loss, command })
}

/// What surrounds a trace: what tracer was started with, the view, and what was started for the trace.
struct Around {
    inherited: Descriptors,
    /// What a view needs, if there is one.
    view: Option<top::Before>,
    started: Started,
}

/// What a trace leads to.
struct Outcome {
    report: Arc<Report>,
    /// How the command ended.
    command: Option<ExitStatus>,
    /// Whether a signal ended the trace.
    was_stopped: bool,
    /// The command's output, if its terminal is not the user's.
    kept: Option<KeptOutput>,
}

/// How long a trace waits at its start for the arguments of processes that ran before: live lines name them.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Leaks a value on purpose: the process exits next, which frees it faster than dropping a hundred thousand strings
/// one by one.
fn leak<T>(value: T) {
    std::mem::forget(value);
}

/// Attaches, collects and judges.
async fn record(
    settings: &Settings,
    kernel: &KernelSettings,
    mut subject: Subject,
    Around { inherited, view, started }: Around,
    mut capturing: Option<Capturing>,
    signals: &mut Signals,
) -> Result<Outcome, AppError> {
    let logs = &started.observers.logs;
    logs.opened().map_err(|(path, source)| AppError::WorkerLog { path, source })?;
    let attaching = Attaching::start(settings.quiet);
    let capture = capturing.as_mut();
    let (mut run, start) =
        attached(settings, kernel, &mut subject, started, capture, &attaching, signals)?;
    signals.start_clock(settings.duration);
    run.collect_waiting();
    run.collector.look_for(FIRST_LOOK);
    ensure_alive(&subject)?;
    if let Some(launched) = &subject.launched {
        run.collector.started_here(launched.pid());
    }
    drop(attaching);
    let spare = Spare::open().map_err(|source| AppError::Runtime { source })?;
    signals.begin()?;
    announce(settings, &subject.target);
    run.view = view.map(|view| view.show(&subject.target, start, settings)).transpose()?;
    let surveyed = run.survey_before_command();
    let released = subject.launched.map(|it| it.release(|| signals.stopped().is_none()));
    let mut running = released.transpose()?;
    // The command has its own copies. tracer's copies would keep pipes open.
    drop(inherited);
    unused(settings).let_go(&spare).map_err(|source| AppError::Runtime { source })?;
    if let Some(capturing) = &mut capturing {
        capturing.begins();
    }
    run.first_survey(surveyed, settings.quiet || settings.is_top || running.is_some());
    let was_stopped = run.until(signals, running.as_mut(), &subject.pids).await?;
    let mut end = End::of(signals, was_stopped);
    let (view, (session, recording)) = (run.view.take(), run.finish(&end)?);
    let command = running.and_then(|running| end.finish_command(running));
    let (mut report, case) =
        report::build(&session, subject.target, start, &settings.stdio_of_interest);
    if let Some(mut capturing) = capturing {
        capturing.finish(&session, kernel, &mut end);
        capturing.report(&case, &mut report, &mut end);
    }
    recording.close(end.waiting());
    let report = Arc::new(report);
    top::stay(view, &session, &report, &mut end);
    leak(case);
    leak(session);
    Ok(Outcome { report, command, was_stopped: end.was_stopped(), kept: subject.kept })
}
