//! Whole screens, compared with files in `golden`, and properties that every screen has. `TRACER_BLESS=1` writes the files:
//! read each before you commit it.

mod golden;
mod keys;
mod properties;
mod samples;

use std::sync::Arc;

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::{Color, Modifier},
};
use tracer_core::snapshot::Snapshot;

use super::{
    frame::{Inks, draw},
    state::{Effect, State},
};

/// A view on a terminal of a test.
struct Shown {
    state: State,
    terminal: Terminal<TestBackend>,
    inks: Inks,
}

impl Shown {
    fn new(snapshot: Snapshot, (width, height): (u16, u16)) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut shown = Self { state: State::default(), terminal, inks: Inks { color: true } };
        shown.take(snapshot);
        shown
    }

    fn take(&mut self, snapshot: Snapshot) {
        self.state.take(Arc::new(snapshot));
        self.draw();
    }

    fn draw(&mut self) {
        let Self { state, terminal, inks } = self;
        terminal
            .draw(|frame| {
                let area = frame.area();
                draw(state, *inks, area, frame.buffer_mut());
            })
            .unwrap();
    }

    fn resize(&mut self, width: u16, height: u16) {
        self.terminal.backend_mut().resize(width, height);
        self.draw();
    }

    fn press(&mut self, key: KeyCode) -> Effect {
        let effect = self.state.press(KeyEvent::new(key, KeyModifiers::NONE));
        self.draw();
        effect
    }

    /// Types text, one key for each character.
    fn keys(&mut self, text: &str) {
        for character in text.chars() {
            self.press(KeyCode::Char(character));
        }
    }

    fn buffer(&self) -> &Buffer {
        self.terminal.backend().buffer()
    }

    /// The text on the screen.
    fn text(&self) -> String {
        let width = usize::from(self.buffer().area.width);
        let lines = self.buffer().content.chunks(width.max(1)).map(|cells| {
            let mut line = String::new();
            let mut hidden = 0;
            for cell in cells {
                if hidden == 0 {
                    line.push_str(cell.symbol());
                    hidden = textwrap::core::display_width(cell.symbol());
                }
                hidden = hidden.saturating_sub(1);
            }
            line.trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// The styles on the screen, one letter for each cell: colours (`r`, `y`, `g`, `c`; capital if bold), bold (`b`), faint
    /// (`-`), reversed (`#`).
    fn inks(&self) -> String {
        let width = usize::from(self.buffer().area.width);
        let lines = self.buffer().content.chunks(width.max(1)).map(|cells| {
            let ink = |cell: &ratatui::buffer::Cell| {
                let is = |modifier| cell.modifier.contains(modifier);
                let letter = match cell.fg {
                    _ if is(Modifier::REVERSED) => '#',
                    Color::Red => 'r',
                    Color::Yellow => 'y',
                    Color::Green => 'g',
                    Color::Cyan => 'c',
                    _ if is(Modifier::DIM) => '-',
                    _ if is(Modifier::BOLD) => 'b',
                    _ => ' ',
                };
                if is(Modifier::BOLD) { letter.to_ascii_uppercase() } else { letter }
            };
            cells.iter().map(ink).collect::<String>().trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// The line of the screen that is selected.
    fn selected(&self) -> String {
        let text = self.text();
        let lines = text.lines().zip(self.buffer().content.chunks(80));
        // The titles of the columns are reversed as well.
        let mut reversed =
            lines.filter(|(_, cells)| cells[79].modifier.contains(Modifier::REVERSED));
        reversed.nth(1).map(|(line, _)| line.to_owned()).unwrap_or_default()
    }
}
