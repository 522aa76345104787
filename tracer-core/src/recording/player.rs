//! Plays a recording: applies its lines up to a moment, for a view that shows how a session grew.

use std::io::BufRead;

use super::{
    LINE_LIMIT, ReadError,
    line::Header,
    parallel::Outcome,
    parse::{self, Line},
    read::{Replay, header, too_long},
};
use crate::{
    session::Session,
    text::bounded_line::{self, Ending},
};

/// A recording that is played. Reads one line ahead.
#[derive(Debug)]
pub struct Player<I> {
    input: I,
    replay: Replay,
    /// The line that comes next; `None` at the end.
    next: Option<Outcome>,
    /// Number of the latest line that was read.
    number: u64,
}

impl<I: BufRead> Player<I> {
    /// Reads the first line. The session may take roughly at most `memory` bytes; the recording ends for the player
    /// where it would take more.
    ///
    /// # Errors
    /// [`ReadError`] if the file holds no session.
    pub fn open(mut input: I, memory: u64) -> Result<Self, ReadError> {
        let mut line = Vec::new();
        let ending = bounded_line::next(&mut input, &mut line, LINE_LIMIT)?;
        let replay = Replay::new(header(&line, ending)?, memory);
        let mut player = Self { input, replay, next: None, number: 1 };
        player.read_next()?;
        Ok(player)
    }

    /// The recording's first line.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.replay.header
    }

    /// The moment up to which it was played, nanoseconds since boot.
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.replay.latest_ns
    }

    /// Whether every line was applied.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.next.is_none()
    }

    /// Applies lines up to this moment, nanoseconds since boot. A line that has no time of its own belongs to the moment
    /// of the line before it.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn play_to(&mut self, time_ns: u64) -> Result<(), ReadError> {
        while self.next_ns().is_some_and(|next_ns| next_ns <= time_ns) {
            self.apply_next()?;
        }
        Ok(())
    }

    /// Applies the lines of the next moment.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn step(&mut self) -> Result<(), ReadError> {
        let now_ns = self.now_ns();
        while self.now_ns() == now_ns && !self.is_at_end() {
            self.apply_next()?;
        }
        self.play_to(self.now_ns())
    }

    /// The session as it was at this moment, with the rows of running processes as far as they were saved.
    #[must_use]
    pub fn session(&self) -> Session {
        let mut replay = self.replay.clone();
        if self.is_at_end() {
            return replay.finish().session;
        }
        replay.add_open_rows();
        replay.session
    }

    /// The moment of the next line; `None` at the end.
    fn next_ns(&self) -> Option<u64> {
        let time_ns = match &self.next.as_ref()?.parsed {
            Ok(parsed) => match &parsed.line {
                Line::Event(event) => event.time_ns,
                Line::Checkpoint(checkpoint) => checkpoint.time_ns,
                Line::End(end) => end.end_ns,
                _ => 0,
            },
            Err(_) => 0,
        };
        Some(time_ns.max(self.now_ns()))
    }

    fn apply_next(&mut self) -> Result<(), ReadError> {
        let Some(line) = self.next.take() else { return Ok(()) };
        // A line that ends the reading of the whole file ends it here as well.
        if self.replay.line(self.number, line) { self.read_next() } else { Ok(()) }
    }

    fn read_next(&mut self) -> Result<(), ReadError> {
        let mut text = Vec::new();
        let ending = bounded_line::next(&mut self.input, &mut text, LINE_LIMIT)?;
        self.number += 1;
        self.next = match ending {
            Ending::Nothing => None,
            Ending::TooLong | Ending::Endless => {
                let parsed = Err(too_long());
                Some(Outcome { parsed, ending, length: 0 })
            }
            Ending::Newline | Ending::EndOfFile => {
                let (parsed, length) = (parse::line(&text), text.len());
                Some(Outcome { parsed, ending, length })
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording;

    const FILE: &[u8] = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/sessions/trees/make.session"
    ));

    fn player() -> Player<&'static [u8]> {
        Player::open(FILE, u64::MAX).unwrap()
    }

    /// The report, which has everything that a session has.
    fn report(session: &Session) -> crate::report::Report {
        let header = player().header().clone();
        crate::report::build(session, header.target, header.start, &header.stdio_of_interest).0
    }

    #[test]
    fn played_to_the_end_a_recording_is_the_session_that_was_recorded() {
        let mut player = player();
        player.play_to(u64::MAX).unwrap();
        assert!(player.is_at_end());
        let whole = recording::read(FILE, u64::MAX).unwrap();
        assert_eq!(report(&player.session()), whole.report().0);
    }

    #[test]
    fn steps_lead_through_all_moments_and_the_session_only_grows() {
        let mut player = player();
        let (mut moments, mut processes) = (0, 0);
        while !player.is_at_end() {
            let before = player.now_ns();
            player.step().unwrap();
            assert!(player.now_ns() > before || player.is_at_end());
            moments += 1;
            let known = player.replay.session.processes.len();
            assert!(known >= processes);
            processes = known;
        }
        assert!(moments > 100, "{moments}");
        assert_eq!(processes, recording::read(FILE, u64::MAX).unwrap().session.processes.len());
    }

    #[test]
    fn in_the_middle_nothing_is_a_loss_of_the_recording() {
        let mut player = player();
        let half = player.now_ns() / 2 + {
            let whole = recording::read(FILE, u64::MAX).unwrap();
            whole.session.end_ns / 2
        };
        player.play_to(half).unwrap();
        assert!(!player.is_at_end() && player.now_ns() <= half);
        let session = player.session();
        assert!(session.losses.is_empty(), "{:?}", session.losses);
        assert_eq!(session.end_ns, player.now_ns());
        assert!(session.ledger.values().any(|row| row.bytes > 0));
    }
}
