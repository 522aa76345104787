//! `tracer top FILE`: plays a recording.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_core::{
    capture::SESSION,
    recording::{Player, ReadError},
    report::Report,
    snapshot::Snapshot,
};

use super::{
    close, color, open_screen, report_files, show,
    source::{Facts, SHARE, save},
};
use crate::{
    app::{
        AppError, lines,
        replay::{Whole, memory, whole},
        signals::Signals,
        stderr,
    },
    capture::folder::Folder,
    render::Format,
    settings::PlaySettings,
    sys::{report_files::ReportFiles, signal::die_of},
    top::{self, Order, Playback, Source},
};

/// How often the recording goes on.
const TURN: Duration = Duration::from_millis(50);
/// The slowest and the fastest speed.
const SPEEDS: (f64, f64) = (1.0 / 64.0, 4096.0);

/// Shows a recording, at first its end. Returns whether its session lost output.
///
/// # Errors
/// [`AppError`] if there is no terminal, or if the file holds no session.
pub fn play(settings: &PlaySettings) -> Result<bool, AppError> {
    let failed = |source| AppError::Runtime { source };
    let screen = open_screen()?;
    let files = report_files(Format::Human)?;
    let mut signals = Signals::listen()?;
    stderr::start().map_err(failed)?;
    let Whole { snapshot, report } = whole(&settings.file)?;
    let has_loss = report.has_loss();
    let mut playing = Playing::open(&settings.file, snapshot, report, files)?;
    signals.begin()?;
    let (source, view) = top::link();
    lines::hold();
    let view = show(screen, view, color(settings.color)).map_err(failed);
    let view = view.inspect_err(|_| lines::release())?;
    let mut stopped = None;
    let played = loop {
        stopped = stopped.or(signals.stopped());
        match playing.turn(&source) {
            Ok(true) if stopped.is_none() => {}
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    source.close();
    close(&view);
    match stopped {
        Some(signal) => die_of(signal),
        None => played.map(|()| has_loss),
    }
}

type Lines = Player<BufReader<File>>;

/// A recording that is played.
struct Playing {
    path: PathBuf,
    player: Lines,
    facts: Facts,
    files: ReportFiles,
    /// The end of the recording.
    end: Arc<Snapshot>,
    report: Report,
    end_ns: u64,
    /// The moment that is shown, nanoseconds since boot.
    at_ns: u64,
    speed: f64,
    plays: bool,
    /// When the moment was reached.
    since: Instant,
    /// When the next snapshot may be built.
    next: Instant,
    is_new: bool,
}

fn open(path: &Path) -> Result<Lines, AppError> {
    let unreadable = |source| AppError::Recording { path: path.to_owned(), source };
    let file = if path.is_dir() {
        Folder::open(path)?.open_file(SESSION)?
    } else {
        File::open(path).map_err(|error| unreadable(ReadError::Io(error)))?
    };
    Player::open(BufReader::new(file), memory()).map_err(unreadable)
}

impl Playing {
    fn open(
        path: &Path,
        snapshot: Snapshot,
        report: Report,
        files: ReportFiles,
    ) -> Result<Self, AppError> {
        let player = open(path)?;
        let header = player.header();
        let facts = Facts {
            target: header.target.clone(),
            start: header.start,
            stdio_of_interest: header.stdio_of_interest.clone(),
            format: Format::Human,
        };
        let length_ns = (snapshot.at_ms.max(0.0) * 1e6) as u64;
        let end_ns = header.start_ns.saturating_add(length_ns);
        let now = Instant::now();
        Ok(Self {
            path: path.to_owned(),
            player,
            facts,
            files,
            end: Arc::new(snapshot),
            report,
            end_ns,
            at_ns: u64::MAX,
            speed: 1.0,
            plays: false,
            since: now,
            next: now,
            is_new: true,
        })
    }

    fn is_at_end(&self) -> bool {
        self.at_ns >= self.end_ns
    }

    /// One turn. Returns whether to go on.
    fn turn(&mut self, source: &Source) -> Result<bool, AppError> {
        if let Some(order) = source.order(TURN) {
            if order == Order::Quit {
                return Ok(false);
            }
            self.obey(order, source)?;
        }
        if self.plays {
            let passed = self.since.elapsed().as_nanos() as f64 * self.speed;
            self.go_to(self.at_ns.saturating_add(passed as u64))?;
            self.plays = !self.is_at_end();
            self.is_new = true;
        }
        self.since = Instant::now();
        if self.is_new && self.since >= self.next {
            self.show(source);
        }
        Ok(true)
    }

    fn obey(&mut self, order: Order, source: &Source) -> Result<(), AppError> {
        self.is_new = true;
        match order {
            Order::Quit => {}
            Order::Save => source.notice(self.save()),
            Order::PlayOrPause => {
                if self.is_at_end() {
                    self.rewind()?;
                }
                self.plays = !self.plays;
                self.since = Instant::now();
            }
            Order::StepForward => {
                self.plays = false;
                if !self.is_at_end() {
                    self.player.step().map_err(|source| self.unreadable(source))?;
                    self.arrive();
                }
            }
            Order::StepBack => {
                self.plays = false;
                let before = self.at_ns.min(self.end_ns).saturating_sub(1);
                self.rewind()?;
                self.go_to(before)?;
                // The moment itself, and not the time until the next one.
                self.arrive();
            }
            Order::Faster => self.speed = (self.speed * 2.0).min(SPEEDS.1),
            Order::Slower => self.speed = (self.speed / 2.0).max(SPEEDS.0),
            Order::ToStart => self.rewind()?,
            Order::ToEnd => {
                self.plays = false;
                self.at_ns = u64::MAX;
            }
        }
        Ok(())
    }

    /// Saves the report of this moment.
    fn save(&mut self) -> String {
        let format = self.facts.format;
        if self.is_at_end() {
            return save(&mut self.files, &self.report, format);
        }
        save(&mut self.files, &self.facts.report(&self.player.session()), format)
    }

    fn unreadable(&self, source: ReadError) -> AppError {
        AppError::Recording { path: self.path.clone(), source }
    }

    /// Goes back to the start: a recording is read forwards only.
    fn rewind(&mut self) -> Result<(), AppError> {
        self.player = open(&self.path)?;
        self.at_ns = self.player.now_ns();
        Ok(())
    }

    fn go_to(&mut self, time_ns: u64) -> Result<(), AppError> {
        self.player.play_to(time_ns).map_err(|source| self.unreadable(source))?;
        self.at_ns = if self.player.is_at_end() { u64::MAX } else { time_ns };
        Ok(())
    }

    fn arrive(&mut self) {
        self.at_ns = if self.player.is_at_end() { u64::MAX } else { self.player.now_ns() };
    }

    fn show(&mut self, source: &Source) {
        let began = Instant::now();
        let Self { speed, plays, .. } = *self;
        source.playback(Playback { length_ms: self.end.at_ms, speed, plays });
        if self.is_at_end() {
            source.show(Arc::clone(&self.end));
        } else {
            let mut session = self.player.session();
            session.end_ns = session.end_ns.max(self.at_ns);
            source.show(Arc::new(self.facts.snapshot(&session, false)));
        }
        self.is_new = false;
        // A step is shown at once; a long recording plays with few frames.
        let share = if plays { began.elapsed() * SHARE / 4 } else { Duration::ZERO };
        self.next = began + TURN.max(share);
    }
}
