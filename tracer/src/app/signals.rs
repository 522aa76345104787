//! Signals to tracer, and the clock of `--duration`.
//!
//! A thread of its own receives signals. It does nothing else, so no file, terminal or pipe keeps it from its work. It
//! passes each signal on to the main thread, which ends the trace and reports. Where the main thread cannot answer, the
//! signal ends tracer after [`ANSWER`]: while tracer starts, while it writes the report, and for the second signal.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until},
};

use super::AppError;
use crate::{
    launch,
    sys::{
        privileges::{self, Rights},
        signal::die_of,
    },
    top,
};

/// How long the main thread may take to answer a signal that could otherwise be without effect.
const ANSWER: Duration = Duration::from_secs(1);

/// What the main thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// It loads and attaches: there is nothing to report, and the command was not started.
    Starting,
    /// It traces, and then finishes the session.
    Tracing,
    /// It writes the report, for which the reader may need any time.
    Reporting,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    /// Signals that the main thread has answered.
    answered: AtomicU64,
}

impl Shared {
    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) == phase as u8
    }
}

/// Receives signals, and knows the deadline.
pub(super) struct Signals {
    notices: UnboundedReceiver<Notice>,
    shared: Arc<Shared>,
    deadline: Option<Instant>,
}

/// What a run has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// End normally: Ctrl-C, SIGTERM or SIGHUP.
    Stop(process::Signal),
    /// End normally: the time is up.
    TimeIsUp,
    /// Set the size of the command's terminal: tracer's own terminal has a new size.
    WindowChanged,
}

impl Signals {
    /// Starts the thread. From here on, signals do not end tracer by themselves.
    pub(super) fn listen() -> Result<Self, AppError> {
        let failed = |source| AppError::Runtime { source };
        let (sender, notices) = unbounded_channel();
        let phase = AtomicU8::new(Phase::Starting as u8);
        let shared = Arc::new(Shared { phase, answered: AtomicU64::new(0) });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let streams = runtime.block_on(async { Streams::open() }).map_err(failed)?;
        let theirs = Arc::clone(&shared);
        privileges::spawn("signals", Rights::None, move || {
            runtime.block_on(pass_on(streams, &sender, &theirs));
        })
        .map_err(failed)?;
        Ok(Self { notices, shared, deadline: None })
    }

    /// Fails if a signal has come. To be called from time to time while tracer starts.
    pub(super) fn check(&mut self) -> Result<(), AppError> {
        self.stopped().map_or(Ok(()), |signal| Err(AppError::Interrupted { signal }))
    }

    /// The trace begins, unless a signal has come. From here on, the first signal leads to a report.
    pub(super) fn begin(&mut self) -> Result<(), AppError> {
        self.shared.phase.store(Phase::Tracing as u8, Ordering::SeqCst);
        self.check()
    }

    /// The report is written from here on.
    pub(super) fn reports(&self) {
        self.shared.phase.store(Phase::Reporting as u8, Ordering::SeqCst);
    }

    /// Takes a signal that has come, without waiting.
    pub(super) fn stopped(&mut self) -> Option<process::Signal> {
        while let Ok(notice) = self.notices.try_recv() {
            if let Notice::Stop(signal) = notice {
                self.shared.answered.fetch_add(1, Ordering::SeqCst);
                return Some(signal);
            }
        }
        None
    }

    /// Starts the clock.
    pub(super) fn start_clock(&mut self, duration: Option<Duration>) {
        // A deadline beyond the range of the clock is none.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits for the next signal, or for the deadline.
    pub(super) async fn next(&mut self) -> Notice {
        let notice = tokio::select! {
            Some(notice) = self.notices.recv() => notice,
            () = time_is_up(self.deadline) => Notice::TimeIsUp,
        };
        if matches!(notice, Notice::Stop(_)) {
            self.shared.answered.fetch_add(1, Ordering::SeqCst);
        }
        notice
    }
}

/// The signals that tracer handles.
struct Streams {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    window: Signal,
}

impl Streams {
    fn open() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Notice {
        tokio::select! {
            _ = self.interrupt.recv() => Notice::Stop(process::Signal::INT),
            _ = self.terminate.recv() => Notice::Stop(process::Signal::TERM),
            _ = self.hangup.recv() => Notice::Stop(process::Signal::HUP),
            _ = self.window.recv() => Notice::WindowChanged,
        }
    }
}

/// What the thread does.
async fn pass_on(mut streams: Streams, sender: &UnboundedSender<Notice>, shared: &Shared) {
    let mut sent = 0;
    // The signal that ends tracer, and when.
    let mut fatal: Option<(process::Signal, Instant)> = None;
    loop {
        let notice = tokio::select! {
            notice = streams.next() => notice,
            () = time_is_up(fatal.map(|fatal| fatal.1)) => Notice::TimeIsUp,
        };
        match (notice, fatal) {
            (Notice::TimeIsUp, Some((signal, _))) => {
                let was_answered = shared.answered.load(Ordering::SeqCst) == sent;
                if !was_answered || !shared.is(Phase::Tracing) {
                    end(signal);
                }
                fatal = None;
            }
            (Notice::Stop(signal), Some(_)) => end(signal),
            (Notice::Stop(signal), None) => {
                sent += 1;
                // The main thread looks for this notice after it has left the first phase.
                let _ = sender.send(notice);
                let leads_to_report = shared.is(Phase::Tracing) && sent == 1;
                fatal = (!leads_to_report).then(|| (signal, Instant::now() + ANSWER));
            }
            (notice, _) => drop(sender.send(notice)),
        }
    }
}

/// Ends tracer at once.
fn end(signal: process::Signal) -> ! {
    top::restore();
    launch::restore_terminal();
    die_of(signal)
}

async fn time_is_up(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_duration_is_no_deadline() {
        let mut signals = Signals::listen().unwrap();
        signals.start_clock(Some(Duration::MAX));
        assert_eq!(signals.deadline, None);
        signals.start_clock(Some(Duration::from_secs(1)));
        assert!(signals.deadline.is_some());
    }
}
