//! Renders the checks of `tracer doctor`, one line for each.

use std::io;

use super::{
    Style,
    palette::{BAD, GOOD, ODD, PLAIN},
    text::{Page, Text},
};

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineStatus {
    /// The fact is as it should be.
    Ok,
    /// A trace works, but misses something.
    Warn,
    /// No trace works.
    Fail,
}

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorLine {
    /// The result.
    pub ok: LineStatus,
    /// What was checked, in one word: `root`, `btf`.
    pub name: String,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` if nothing needs to be done.
    pub cure: Option<String>,
}

/// Writes the checks: `✓ root      effective capabilities: all`, and a fix below as `→ …`.
///
/// # Errors
/// Errors of `out`.
pub fn doctor(lines: &[DoctorLine], style: &Style, out: &mut dyn io::Write) -> io::Result<()> {
    let names = lines.iter().map(|line| Text::plain(&line.name).width()).max().unwrap_or(0);
    let mut page = Page::new(style, out);
    for line in lines {
        let (mark, ink) = match line.ok {
            LineStatus::Ok => ("✓", GOOD),
            LineStatus::Warn => ("!", ODD),
            LineStatus::Fail => ("✗", BAD),
        };
        let name = Text::plain(&line.name).padded(names);
        let lead = Text::styled(ink, mark).and(PLAIN, " ").then(name).and(PLAIN, "  ");
        let column = lead.width();
        page.words(lead, column, PLAIN, &line.found)?;
        if let Some(cure) = &line.cure {
            let lead = Text::blank(column).and(PLAIN, "→ ");
            page.words(lead, column + 2, PLAIN, cure)?;
        }
    }
    Ok(())
}
