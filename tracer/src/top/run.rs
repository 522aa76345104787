//! Runs the view: takes keys and snapshots, and draws.

use std::{io, time::Duration};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::{
    frame::{self, Inks},
    link::{Order, View},
    screen::{Screen, Tty, restore},
    state::{Effect, State},
};

/// How long to wait for a key before the source is looked at again.
const TURN: Duration = Duration::from_millis(50);
/// The most events that are taken before the next frame: text that is pasted.
const MOST_EVENTS: usize = 256;

/// Shows what the source sends, until the user quits or the source closes the view. The terminal is restored when this
/// returns. `color`: whether colours may be used.
///
/// # Errors
/// Errors of the terminal.
pub fn run(screen: Screen, view: &View, color: bool) -> io::Result<()> {
    let shown = screen.take().and_then(|mut tty| show(&mut tty, view, Inks { color }));
    restore();
    shown
}

fn show(tty: &mut Tty, view: &View, inks: Inks) -> io::Result<()> {
    let mut state = State::default();
    let mut is_new = true;
    while !view.is_closed() {
        is_new |= take_messages(&mut state, view);
        if is_new {
            tty.draw(|frame| {
                let area = frame.area();
                frame::draw(&mut state, inks, area, frame.buffer_mut());
            })?;
            is_new = false;
        }
        let mut left = MOST_EVENTS;
        let mut wait = TURN;
        while left > 0 && event::poll(wait)? {
            (left, wait, is_new) = (left - 1, Duration::ZERO, true);
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match state.press(key) {
                    Effect::None => {}
                    Effect::Redraw => tty.clear()?,
                    Effect::Quit => {
                        view.order(Order::Quit);
                        return Ok(());
                    }
                    Effect::Order(order) => view.order(order),
                },
                // The next frame has the new size.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Takes what the source has sent. Returns whether anything is to be drawn.
fn take_messages(state: &mut State, view: &View) -> bool {
    let mut is_new = false;
    if let Some(playback) = view.playback() {
        is_new |= state.playback.replace(playback) != Some(playback);
    }
    if let Some(snapshot) = view.snapshot() {
        state.take(snapshot);
        is_new = true;
    }
    if let Some(notice) = view.notice() {
        state.notice = Some(notice);
        is_new = true;
    }
    is_new
}
