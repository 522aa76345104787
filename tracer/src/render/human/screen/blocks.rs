//! Divides the lines of a screen between sections.

use std::io;

use tracer_core::text::units::count;

use crate::render::{
    Style,
    palette::FAINT,
    text::{Page, Text},
};

/// Lines that stay together.
#[derive(Clone, Debug, Default)]
pub(super) struct Block(Vec<String>);

/// Blocks of one kind, with an empty line above them.
#[derive(Debug)]
pub(super) struct Section {
    /// What one block is called, to count those without room. Empty if the section is a single block.
    noun: &'static str,
    /// Sections with a small number get what is left over first.
    rank: u8,
    /// How many lines it gets in any case, the empty one included.
    least: usize,
    blocks: Vec<Block>,
    /// How many more there are in the first place.
    beyond: u64,
}

/// The lines that are written to a page.
pub(super) fn block(
    style: &Style,
    write: impl FnOnce(&mut Page<'_>) -> io::Result<()>,
) -> io::Result<Block> {
    let mut text = Vec::new();
    write(&mut Page::strict(style, &mut text))?;
    let text = String::from_utf8_lossy(&text);
    Ok(Block(text.lines().map(str::to_owned).collect()))
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// With at most this many lines.
    pub(super) fn cut(mut self, most: usize) -> Self {
        if self.len() > most {
            self.0.truncate(most.saturating_sub(1));
            self.0.push("  … (--all shows the rest)".to_owned());
        }
        self
    }

    pub(super) fn print(&self, out: &mut dyn io::Write) -> io::Result<()> {
        self.0.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl Section {
    pub(super) fn of(noun: &'static str, rank: u8, least: usize, mut blocks: Vec<Block>) -> Self {
        blocks.retain(|block| block.len() > 0);
        Self { noun, rank, least, blocks, beyond: 0 }
    }

    /// With this many more items that have no block.
    pub(super) fn and(self, beyond: u64) -> Self {
        Self { beyond, ..self }
    }

    /// How many lines it takes to show everything, the empty one included.
    fn need(&self) -> usize {
        match self.blocks.iter().map(Block::len).sum::<usize>() {
            0 => 0,
            lines => lines + 1 + usize::from(self.beyond > 0),
        }
    }

    /// The first blocks, and how many others there are, in this many lines, the empty one included.
    fn shown(&self, room: usize, style: &Style) -> io::Result<Block> {
        let counts = self.need() > room || self.beyond > 0;
        // The empty line, and the line that counts.
        let mut left = room.saturating_sub(if counts { 2 } else { 1 });
        let mut lines = Block::default();
        let mut without_room = self.blocks.len() as u64 + self.beyond;
        for (index, one) in self.blocks.iter().enumerate() {
            let one = if index == 0 { one.clone().cut(left.max(1)) } else { one.clone() };
            if one.len() > left {
                break;
            }
            left -= one.len();
            without_room -= 1;
            lines.0.extend(one.0);
        }
        if without_room > 0 {
            let more = count(without_room, &format!("more {}", self.noun));
            let words = format!("… and {more} (--all shows everything)");
            lines.0.extend(block(style, |page| page.line(&Text::styled(FAINT, &words)))?.0);
        }
        Ok(lines)
    }
}

/// The lines of each section that has some, in order.
pub(super) fn fit<const N: usize>(
    sections: &[Section; N],
    room: usize,
    style: &Style,
) -> io::Result<Vec<Block>> {
    let mut given = sections.each_ref().map(|section| section.need().min(section.least));
    let mut left = room.saturating_sub(given.iter().sum());
    let mut order: Vec<(u8, usize)> =
        sections.iter().enumerate().map(|(index, section)| (section.rank, index)).collect();
    order.sort_unstable();
    for (_, index) in order {
        let more = left.min(sections[index].need() - given[index]);
        given[index] += more;
        left -= more;
    }
    let shown = sections.iter().zip(given).filter(|(section, _)| section.need() > 0);
    shown.map(|(section, given)| section.shown(given, style)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { color: false, width: 80 };

    fn section(rank: u8, least: usize, lengths: &[usize]) -> Section {
        let blocks = lengths.iter().map(|&length| Block(vec![format!("r{rank}"); length]));
        Section::of("thing", rank, least, blocks.collect())
    }

    /// Lines of each section, with the empty line above it.
    fn fitted(room: usize, sections: &[Section; 2]) -> Vec<usize> {
        fit(sections, room, &STYLE).unwrap().iter().map(|block| block.len() + 1).collect()
    }

    #[test]
    fn everything_is_shown_if_there_is_room() {
        assert_eq!(fitted(20, &[section(2, 3, &[2, 2]), section(1, 3, &[4])]), [5, 5]);
        assert_eq!(fitted(20, &[section(2, 3, &[]), section(1, 3, &[4])]), [5]);
    }

    #[test]
    fn no_section_takes_all_lines_and_no_line_is_above_the_room() {
        for room in 6..60 {
            for length in 1..9 {
                let lengths = [length; 30];
                let lines = fitted(room, &[section(2, 3, &lengths), section(1, 3, &lengths)]);
                assert!(lines.iter().sum::<usize>() <= room, "{room} {length}: {lines:?}");
                assert!(lines.iter().all(|lines| *lines >= 3), "{room} {length}: {lines:?}");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let shown = fit(&[section(1, 3, &[2, 2, 2])], 6, &STYLE).unwrap();
        assert_eq!(shown[0].0.last().unwrap(), "… and 1 more thing (--all shows everything)");
    }
}
