//! The state of the view: what a key changes, and what a new snapshot changes. No clock, no terminal.

mod order;
mod rates;

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tracer_common::id::ProcessId;
use tracer_core::snapshot::{Row, Snapshot};

pub(super) use self::{
    order::{Line, Sort},
    rates::Rates,
};
use super::link::{Order, Playback};

/// The longest filter, in characters.
const LONGEST_FILTER: usize = 64;

/// What is on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// The list of commands.
    #[default]
    List,
    /// One command.
    Command,
    /// The keys.
    Keys,
}

/// What a key leads to, besides a new state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The view ends.
    Quit,
    /// The terminal is cleared, and everything drawn again.
    Redraw,
    /// The source gets an order.
    Order(Order),
}

/// The state of the view.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What is shown.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) rates: Rates,
    /// The lines of the list, in their order.
    pub(super) lines: Vec<Line>,
    pub(super) page: Page,
    /// The command that is selected. `None`: the first one, whatever it is.
    selected: Option<ProcessId>,
    /// The first line of the list or text that is shown.
    pub(super) offset: usize,
    /// Number of lines of the page, and how many of them fit; the frame measures them.
    pub(super) length: usize,
    pub(super) height: usize,
    pub(super) sort: Sort,
    pub(super) is_flat: bool,
    /// Whether commands are left out that have ended and are not in trouble.
    pub(super) hides_done: bool,
    pub(super) filter: String,
    /// Whether keys change the filter.
    pub(super) is_typing: bool,
    /// Whether new snapshots are left out.
    pub(super) is_frozen: bool,
    pub(super) playback: Option<Playback>,
    /// A sentence for the last line, until the next key.
    pub(super) notice: Option<String>,
}

impl State {
    /// Takes a newer snapshot, unless the screen is frozen.
    pub(super) fn take(&mut self, snapshot: Arc<Snapshot>) {
        if self.is_frozen && !snapshot.is_over {
            return;
        }
        self.rates.take(&self.snapshot, &snapshot);
        self.snapshot = snapshot;
        self.arrange();
    }

    /// The row of the selected command.
    pub(super) fn row(&self) -> Option<&Row> {
        let line = self.lines.get(self.place())?;
        self.snapshot.rows.get(line.row)
    }

    /// The line of the selected command.
    pub(super) fn place(&self) -> usize {
        let Some(id) = self.selected else { return 0 };
        let is_it = |line: &Line| self.snapshot.rows.get(line.row).is_some_and(|row| row.id == id);
        self.lines.iter().position(is_it).unwrap_or(0)
    }

    /// Changes the state as a key wants it.
    pub(super) fn press(&mut self, key: KeyEvent) -> Effect {
        self.notice = None;
        let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if has_control => return Effect::Quit,
            KeyCode::Char('l') if has_control => return Effect::Redraw,
            KeyCode::Char(_) if has_control => return Effect::None,
            _ => {}
        }
        match self.page {
            Page::List if self.is_typing => {
                self.type_filter(key.code);
                Effect::None
            }
            Page::List => self.press_in_list(key.code),
            Page::Command | Page::Keys => self.press_in_text(key.code),
        }
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(character) if self.filter.chars().count() < LONGEST_FILTER => {
                self.filter.push(character);
            }
            _ => return,
        }
        self.arrange();
    }

    fn press_in_list(&mut self, key: KeyCode) -> Effect {
        match key {
            KeyCode::Char('q') | KeyCode::F(10) => return Effect::Quit,
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.open(),
            KeyCode::Char('/') | KeyCode::F(3 | 4) => self.is_typing = true,
            KeyCode::Esc | KeyCode::Backspace => self.filter.clear(),
            KeyCode::Char('<') => self.sort = self.sort.before(),
            KeyCode::Char('>') | KeyCode::F(6) => self.sort = self.sort.after(),
            KeyCode::Char('T') => self.sort = Sort::TROUBLE,
            KeyCode::Char('W') => self.sort = Sort::WRITTEN,
            KeyCode::Char('R') => self.sort = Sort::RATE,
            KeyCode::Char('P') => self.sort = Sort::START,
            KeyCode::Char('I') => self.sort = self.sort.reversed(),
            KeyCode::Char('e') => self.hides_done = !self.hides_done,
            KeyCode::Char('t') | KeyCode::F(5) => self.is_flat = !self.is_flat,
            key => return self.press_anywhere(key),
        }
        self.arrange();
        Effect::None
    }

    fn open(&mut self) {
        if let Some(id) = self.row().map(|row| row.id) {
            // A page of a command stays with it, wherever its line moves.
            self.selected = Some(id);
            self.page = Page::Command;
            self.offset = 0;
        }
    }

    fn press_in_text(&mut self, key: KeyCode) -> Effect {
        match key {
            KeyCode::Esc
            | KeyCode::Backspace
            | KeyCode::Left
            | KeyCode::Enter
            | KeyCode::Char('q' | 'h') => {
                self.page = Page::List;
                self.arrange();
                Effect::None
            }
            key => self.press_anywhere(key),
        }
    }

    /// Keys that mean the same on every page.
    fn press_anywhere(&mut self, key: KeyCode) -> Effect {
        let is_recording = self.playback.is_some();
        let order = match key {
            KeyCode::Char(' ' | 'p') if is_recording => Order::PlayOrPause,
            KeyCode::Char(' ' | 'p') => {
                self.is_frozen = !self.is_frozen;
                return Effect::None;
            }
            KeyCode::Char('.') if is_recording => Order::StepForward,
            KeyCode::Char(',') if is_recording => Order::StepBack,
            KeyCode::Char(']') if is_recording => Order::Faster,
            KeyCode::Char('[') if is_recording => Order::Slower,
            KeyCode::Char('0') if is_recording => Order::ToStart,
            KeyCode::Char('$') if is_recording => Order::ToEnd,
            KeyCode::Char('s') => Order::Save,
            KeyCode::Char('?') | KeyCode::F(1) => {
                (self.page, self.offset) = (Page::Keys, 0);
                return Effect::None;
            }
            KeyCode::Char('n') => return self.go_to_trouble(true),
            KeyCode::Char('N') => return self.go_to_trouble(false),
            key => {
                self.go(key);
                return Effect::None;
            }
        };
        Effect::Order(order)
    }

    /// Selects the next or previous command in trouble.
    fn go_to_trouble(&mut self, forward: bool) -> Effect {
        if self.page == Page::Keys {
            return Effect::None;
        }
        let is_found = |place: &usize| {
            let line = self.lines.get(*place);
            line.and_then(|line| self.snapshot.rows.get(line.row)).is_some_and(order::is_in_trouble)
        };
        let here = self.place();
        let found = if forward {
            (here + 1..self.lines.len()).chain(0..=here).find(is_found)
        } else {
            (0..here).rev().chain((here..self.lines.len()).rev()).find(is_found)
        };
        match found {
            Some(place) => {
                self.select(place);
                self.offset = if self.page == Page::Command { 0 } else { self.offset };
                self.follow();
            }
            None => self.notice = Some("No command lost output or is stuck.".to_owned()),
        }
        Effect::None
    }

    /// Moves through the page.
    fn go(&mut self, key: KeyCode) {
        let screen = self.height.max(1);
        let is_list = self.page == Page::List;
        let here = if is_list { self.place() } else { self.offset };
        let last = if is_list {
            self.lines.len().saturating_sub(1)
        } else {
            self.length.saturating_sub(self.height)
        };
        let there = match key {
            KeyCode::Up | KeyCode::Char('k') => here.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => here + 1,
            KeyCode::PageUp => here.saturating_sub(screen),
            KeyCode::PageDown => here + screen,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => return,
        };
        if is_list {
            self.select(there.min(last));
            if there == 0 {
                self.selected = None;
            }
            self.follow();
        } else {
            self.offset = there.min(last);
        }
    }

    fn select(&mut self, place: usize) {
        let line = self.lines.get(place);
        self.selected = line.and_then(|line| self.snapshot.rows.get(line.row)).map(|row| row.id);
    }

    /// Puts the lines in their order, and keeps the selected one on the screen.
    fn arrange(&mut self) {
        self.lines = order::lines(&self.snapshot, &self.rates, self);
        let is_there = |id: &ProcessId| self.snapshot.rows.iter().any(|row| row.id == *id);
        self.selected = self.selected.filter(is_there);
        if self.page == Page::Command && self.selected.is_none() {
            self.page = Page::List;
        }
        self.follow();
    }

    /// Takes the number of lines of the page, and how many of them fit.
    pub(super) fn measured(&mut self, length: usize, height: usize) {
        (self.length, self.height) = (length, height);
        self.follow();
    }

    /// Keeps the selected line on the screen, and the screen on the text.
    fn follow(&mut self) {
        match self.page {
            Page::List => {
                let (place, height) = (self.place(), self.height.max(1));
                let last = self.lines.len().saturating_sub(height);
                self.offset =
                    self.offset.clamp((place + 1).saturating_sub(height), place).min(last);
            }
            Page::Command | Page::Keys => {
                self.offset = self.offset.min(self.length.saturating_sub(self.height));
            }
        }
    }
}
