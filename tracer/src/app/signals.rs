//! Signals to tracer, and the clock of `--duration`.
//!
//! A thread of its own receives signals. It does nothing else, so no file, terminal or pipe keeps it from its work. It
//! passes each signal on to the main thread, which ends the trace and reports. Where the main thread cannot answer, the
//! signal ends tracer after [`ANSWER`]: while tracer starts, while it writes the report, and for the second signal.
//!
//! The first signal of a trace leads to a report, for which the main thread may have much to do. It is watched: if it uses
//! no CPU time, it waits for something that does not answer, and the signal ends tracer with one sentence.

use std::{
    future::pending,
    path::Path,
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

use super::{AppError, stderr};
use crate::{
    launch,
    sys::{
        bounded,
        cpu_clock::CpuClock,
        privileges::{self, Rights},
        signal::die_of,
    },
    top,
};

/// How long the main thread may take to answer a signal that could otherwise be without effect.
const ANSWER: Duration = Duration::from_secs(1);

/// How often the main thread is watched while it works on the answer to the first signal.
const TURN: Duration = Duration::from_millis(100);
/// After this many turns without CPU time, a main thread that has not taken the signal stands still: a second.
const STILL: u32 = 10;
/// The same once it has: the kernel lets it sleep while hooks are detached.
const STILL_AT_END: u32 = 50;
/// After this many turns, a main thread that works has to have taken the signal.
const BUSY: u32 = 50;
/// How long the last sentence may take: standard error may stand still, too.
const LAST_WORDS: Duration = Duration::from_millis(200);

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
    /// The main thread's clock.
    clock: Option<CpuClock>,
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
    /// When the latest signal was taken.
    came: Option<std::time::Instant>,
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
    /// Starts the thread, which watches the calling one: the main thread. From here on, signals do not end tracer by themselves.
    pub(super) fn listen() -> Result<Self, AppError> {
        let failed = |source| AppError::Runtime { source };
        let (sender, notices) = unbounded_channel();
        let phase = AtomicU8::new(Phase::Starting as u8);
        let clock = CpuClock::of_this_thread();
        let shared = Arc::new(Shared { phase, answered: AtomicU64::new(0), clock });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let streams = runtime.block_on(async { Streams::open() }).map_err(failed)?;
        let theirs = Arc::clone(&shared);
        privileges::spawn("signals", Rights::None, move || {
            runtime.block_on(pass_on(streams, &sender, &theirs));
        })
        .map_err(failed)?;
        Ok(Self { notices, shared, deadline: None, came: None })
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
                self.answer();
                return Some(signal);
            }
        }
        None
    }

    /// When the latest signal was taken.
    pub(super) const fn came(&self) -> Option<std::time::Instant> {
        self.came
    }

    fn answer(&mut self) {
        self.came = Some(std::time::Instant::now());
        self.shared.answered.fetch_add(1, Ordering::SeqCst);
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
            self.answer();
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

/// The first signal of a trace, until the report begins.
struct Watch {
    signal: process::Signal,
    /// The main thread's clock, and what it said last.
    clock: Option<CpuClock>,
    used: Option<Duration>,
    /// The next turn.
    next: Instant,
    turns: u32,
    /// The latest turns in which the main thread used no CPU time.
    still: u32,
}

impl Watch {
    fn begin(signal: process::Signal, clock: Option<CpuClock>) -> Self {
        let used = clock.and_then(CpuClock::used);
        Self { signal, clock, used, next: Instant::now() + TURN, turns: 0, still: 0 }
    }

    /// One turn. Returns whether the wait is over. Turns are counted, not time: tracer may have been stopped itself.
    fn turn(&mut self, has_answered: bool) -> bool {
        self.next = Instant::now() + TURN;
        self.turns += 1;
        let used = self.clock.and_then(CpuClock::used);
        self.still = if used == self.used { self.still + 1 } else { 0 };
        self.used = used;
        if has_answered {
            self.still >= STILL_AT_END
        } else {
            self.still >= STILL || self.turns >= BUSY
        }
    }
}

/// What the thread does.
async fn pass_on(mut streams: Streams, sender: &UnboundedSender<Notice>, shared: &Shared) {
    let mut sent = 0;
    // The signal that ends tracer, and when.
    let mut fatal: Option<(process::Signal, Instant)> = None;
    let mut first: Option<Watch> = None;
    loop {
        let notice = tokio::select! {
            notice = streams.next() => notice,
            () = time_is_up(fatal.map(|fatal| fatal.1)) => Notice::TimeIsUp,
            () = time_is_up(first.as_ref().map(|watch| watch.next)) => {
                first = watched(first, shared);
                continue;
            }
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
                if shared.is(Phase::Tracing) && sent == 1 {
                    first = Some(Watch::begin(signal, shared.clock));
                } else {
                    fatal = Some((signal, Instant::now() + ANSWER));
                }
            }
            (notice, _) => drop(sender.send(notice)),
        }
    }
}

/// Watches the main thread for one turn, unless the report has begun.
fn watched(watch: Option<Watch>, shared: &Shared) -> Option<Watch> {
    let mut watch = watch.filter(|_| !shared.is(Phase::Reporting))?;
    let has_answered = shared.answered.load(Ordering::SeqCst) > 0;
    if watch.turn(has_answered) {
        say_unfinished(watch.signal, has_answered);
        end(watch.signal);
    }
    Some(watch)
}

/// Says what does not come to an end. Standard error may stand still, so another thread writes.
fn say_unfinished(signal: process::Signal, has_answered: bool) {
    let what = if has_answered { "finish the report" } else { "end the trace" };
    let place = format!("/proc/self/task/{}/wchan", process::getpid());
    let place = bounded::text(Path::new(&place));
    // `0` where it is unknown (`proc_pid_wchan(5)`).
    let place = place.ok().filter(|place| place.len() > 1).unwrap_or_else(|| "unknown".to_owned());
    let name = if signal == process::Signal::INT {
        "SIGINT"
    } else if signal == process::Signal::TERM {
        "SIGTERM"
    } else {
        "SIGHUP"
    };
    let line = format!(
        "tracer: {name} ends tracer without a report: it could not {what}, because what its main thread waits for does \
         not answer (place in the kernel: {place})\n"
    );
    top::restore();
    let words = privileges::spawn("last-words", Rights::None, move || {
        let _ = stderr::put(line.as_bytes());
    });
    let began = Instant::now();
    while words.as_ref().is_ok_and(|it| !it.is_finished()) && began.elapsed() < LAST_WORDS {
        std::thread::sleep(LAST_WORDS / 20);
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

    /// Turns of a watch on a thread that uses no CPU time, until it ends it.
    fn turns_of_a_still_thread(has_answered: bool) -> u32 {
        let mut watch = Watch::begin(process::Signal::INT, None);
        (1..=1000).find(|_| watch.turn(has_answered)).unwrap()
    }

    #[test]
    fn a_thread_that_stands_still_is_waited_for_longer_once_it_has_answered() {
        assert_eq!(turns_of_a_still_thread(false), STILL);
        assert_eq!(turns_of_a_still_thread(true), STILL_AT_END);
    }

    #[test]
    fn a_thread_that_works_is_waited_for_until_it_is_too_late_for_an_answer() {
        let clock = CpuClock::of_this_thread();
        let mut watch = Watch::begin(process::Signal::INT, clock);
        let mut works = |has_answered| {
            let before = clock.unwrap().used();
            while clock.unwrap().used() <= before {}
            watch.turn(has_answered)
        };
        assert_eq!((1..=1000).find(|_| works(false)), Some(BUSY));
        assert!(!works(true), "it works on the report");
    }

    #[test]
    fn the_longest_duration_is_no_deadline() {
        let mut signals = Signals::listen().unwrap();
        signals.start_clock(Some(Duration::MAX));
        assert_eq!(signals.deadline, None);
        signals.start_clock(Some(Duration::from_secs(1)));
        assert!(signals.deadline.is_some());
    }
}
