//! What a trace tells while it runs: lines for people on standard error, and lines of NDJSON where the report will go.

mod early;
mod events;
mod sums;

use std::{
    cell::{Cell, RefCell},
    io::{self, Write as _},
    rc::Rc,
    time::{Duration, Instant},
};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow},
    object::ObjectId,
};
use tracer_core::{
    event::{BlockedThread, Event},
    session::Session,
};
use tracer_loader::{Loader, boot_ns};

use self::{early::Early, sums::Sums};
use super::{lifetimes::Lifetimes, lines::Lines, live_targets::LiveTargets, pace::Pace, stderr};
use crate::{
    observe::{self, Lookout, Request},
    render::{self, LiveEvent, Progress, Style},
    sys::user_file::UserFile,
};

/// How often open rows are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);
/// How often the trace says how far it is.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often a helper process looks for blocked writers.
const LOOK_AT_WRITERS: Duration = Duration::from_secs(2);
/// At how many processes it looks each time, in turn.
const WRITERS_AT_ONCE: usize = 256;
/// How many bytes of lines wait for the file system of `-o`.
const MOST_WAITING: usize = 8 << 20;

/// The destination of lines of NDJSON: that of the report.
pub(super) enum Stream {
    /// Standard output.
    Stdout(Lines),
    /// Standard error, which has its own thread.
    Stderr,
    /// The file of `-o`.
    File {
        /// The file.
        file: Rc<RefCell<UserFile>>,
        /// Lines that found no room since the last line that says so.
        left_out: Cell<u64>,
    },
}

impl Stream {
    /// Writes a line if there is room. Does not wait. The report meets the errors again.
    fn give(&self, line: Vec<u8>) {
        match self {
            Self::Stdout(lines) => lines.give(line),
            Self::Stderr => stderr::give(line),
            Self::File { file, left_out } => {
                let mut file = file.borrow_mut();
                if file.waiting() + line.len() > MOST_WAITING {
                    left_out.set(left_out.get() + 1);
                    let _ = file.flush();
                    return;
                }
                let _ = say_left_out(&mut file, left_out)
                    .and_then(|()| file.write_all(&line))
                    .and_then(|()| file.flush());
            }
        }
    }

    /// Writes what comes before the report: lines that wait, and how many were left out.
    ///
    /// # Errors
    /// Errors of the destination.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Stdout(lines) => lines.finish(),
            Self::Stderr => Ok(()),
            Self::File { file, left_out } => say_left_out(&mut file.borrow_mut(), left_out),
        }
    }
}

fn say_left_out(file: &mut UserFile, left_out: &Cell<u64>) -> io::Result<()> {
    match left_out.take() {
        0 => Ok(()),
        lines => file.write_all(&render::left_out_json(lines)),
    }
}

/// Where lines go; nowhere without both.
#[derive(Default)]
pub(super) struct Sinks {
    /// Style of the lines for people.
    pub(super) style: Option<Style>,
    pub(super) stream: Option<Rc<Stream>>,
}

impl Sinks {
    fn are_there(&self) -> bool {
        self.style.is_some() || self.stream.is_some()
    }

    fn tell(&self, event: &LiveEvent, is_for_people: bool) {
        if let Some(style) = self.style.filter(|_| is_for_people) {
            stderr::say(&render::live_line(event, &style));
        }
        if let Some(stream) = &self.stream
            && let Ok(line) = event.json()
        {
            stream.give(line);
        }
    }
}

/// Tells what happens, and what is known already.
pub(super) struct Live {
    sinks: Sinks,
    early: Early,
    /// How often the cost of looks allows them.
    pace: Pace,
    next_look: Instant,
    next_look_at_writers: Instant,
    /// The processes at which a helper looked last.
    asked: Vec<ProcessId>,
    /// The latest line about progress: when, bytes written and read.
    beat: (Instant, u64, u64),
}

/// What a look looks at.
pub(super) struct Scene<'a> {
    pub(super) session: &'a Session,
    pub(super) loader: &'a Loader,
    pub(super) lookout: &'a mut Lookout,
    pub(super) targets: &'a LiveTargets,
    pub(super) lifetimes: &'a Lifetimes,
}

impl Live {
    pub(super) fn new(sinks: Sinks) -> Self {
        let now = Instant::now();
        Self {
            sinks,
            early: Early::default(),
            pace: Pace::new(now),
            next_look: now + LOOK,
            next_look_at_writers: now,
            asked: Vec::new(),
            beat: (now, 0, 0),
        }
    }

    /// The trace begins.
    pub(super) fn begin(&mut self) {
        self.beat = (Instant::now(), 0, 0);
    }

    /// Tells about an event that the session has just applied.
    pub(super) fn event(&mut self, event: &Event, session: &Session) {
        if !self.sinks.are_there() {
            return;
        }
        if let Some((line, is_of_target)) = events::of(session, event) {
            self.sinks.tell(&line, is_of_target);
        }
        if let Some(finding) = self.early.of_event(session, event) {
            self.sinks.tell(&finding, true);
        }
    }

    /// Looks at a row that was taken out of the kernel.
    pub(super) fn row(&mut self, key: &LedgerKey, row: &LedgerRow, session: &Session) {
        if self.sinks.are_there()
            && let Some(finding) = self.early.of_row(session, key, row)
        {
            self.sinks.tell(&finding, true);
        }
    }

    /// Looks at open rows and at blocked writers, if it is time for that.
    pub(super) fn look(&mut self, scene: Scene<'_>) {
        let began = Instant::now();
        if !self.sinks.are_there() || began < self.next_look || !self.pace.allows(began) {
            return;
        }
        self.next_look = began + LOOK;
        let Scene { session, loader, lookout, targets, lifetimes } = scene;
        let Ok(rows) = loader.rows() else { return };
        for (key, row) in &rows {
            self.row(key, row, session);
        }
        for finding in self.early.put_off(session) {
            self.sinks.tell(&finding, true);
        }
        let is_there = |object: &ObjectId| lifetimes.is_watched(object);
        let sums = Sums::of(session, &rows, is_there);
        self.early.forget_ended(is_there);
        if began >= self.next_look_at_writers {
            self.next_look_at_writers = began + LOOK_AT_WRITERS;
            let threads = lookout.blocked_now();
            let blocked: Vec<BlockedThread> =
                threads.iter().map(|thread| observe::with_object(session, thread)).collect();
            let looked_at = (self.asked.as_slice(), blocked.as_slice());
            for finding in self.early.stuck(session, looked_at, &sums, boot_ns()) {
                self.sinks.tell(&finding, true);
            }
            let last = self.asked.last().copied();
            self.asked = targets.some_behind(last, WRITERS_AT_ONCE).collect();
            self.asked.iter().for_each(|process| {
                lookout.ask(Request::ThreadsNow { process: *process });
            });
        }
        let (last, ..) = self.beat;
        if began.duration_since(last) >= HEARTBEAT {
            self.say_progress(&sums, targets.len(), session);
        }
        self.pace.took(began.elapsed(), Instant::now());
    }

    fn say_progress(&mut self, sums: &Sums, processes: usize, session: &Session) {
        let now = Instant::now();
        let (last, written, read) = self.beat;
        let seconds = now.duration_since(last).as_secs_f64();
        let per_second =
            |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds) as u64;
        let progress = Progress {
            at_ms: session.since_start_ms(boot_ns()),
            written: sums.written,
            written_per_second: per_second(sums.written, written),
            read: sums.read,
            read_per_second: per_second(sums.read, read),
            unread: sums.unread,
            processes: processes as u64,
        };
        self.beat = (now, sums.written, sums.read);
        self.sinks.tell(&LiveEvent::Progress(progress), true);
    }
}
