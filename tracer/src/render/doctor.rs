//! What `tracer doctor` found out about this machine, one line for each check.

use std::io;

use super::{
    Style,
    palette::{BAD, GOOD, ODD, PLAIN},
    text::{Page, Text},
};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineStatus {
    /// As needed.
    Ok,
    /// A trace works, but will miss something.
    Warn,
    /// No trace will work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorLine {
    /// How it ended.
    pub ok: LineStatus,
    /// What was looked at, one word: `root`, `btf`.
    pub name: String,
    /// What was found.
    pub found: String,
    /// What to do, where there is something.
    pub cure: Option<String>,
}

/// Writes the checks: `✓ root      effective capabilities: all`, a cure below as `→ …`.
///
/// # Errors
/// Whatever `out` answers.
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
