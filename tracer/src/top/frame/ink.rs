//! The styles of the view. Without colours, marks, characters and words say the same.

use ratatui::style::{Color, Modifier, Style};
use tracer_core::verdict::Severity;

/// What a part of the screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text.
    Plain,
    /// The verdict, names.
    Strong,
    /// Details.
    Faint,
    /// Bytes that did not arrive.
    Bad,
    /// What deserves a look.
    Odd,
    /// What is as it should be.
    Good,
    /// The selected line.
    Selected,
    /// Titles of columns.
    Title,
    /// The name of a key.
    Key,
}

/// The styles: with or without colours.
#[derive(Clone, Copy, Debug)]
pub(in crate::top) struct Inks {
    pub(in crate::top) color: bool,
}

impl Inks {
    pub(super) fn style(self, ink: Ink) -> Style {
        let plain = Style::new();
        let of = |color: Color| if self.color { plain.fg(color) } else { plain };
        match ink {
            Ink::Plain => plain,
            Ink::Strong => plain.add_modifier(Modifier::BOLD),
            Ink::Faint => plain.add_modifier(Modifier::DIM),
            Ink::Bad => of(Color::Red).add_modifier(Modifier::BOLD),
            Ink::Odd => of(Color::Yellow).add_modifier(Modifier::BOLD),
            Ink::Good => of(Color::Green),
            Ink::Selected | Ink::Title => plain.add_modifier(Modifier::REVERSED),
            Ink::Key => of(Color::Cyan).add_modifier(Modifier::BOLD),
        }
    }
}

/// The mark and the ink of a severity.
pub(super) fn mark(severity: Severity) -> (&'static str, Ink) {
    match severity {
        Severity::Loss => ("✗", Ink::Bad),
        Severity::Warning => ("!", Ink::Odd),
        Severity::Info => ("✓", Ink::Good),
    }
}
