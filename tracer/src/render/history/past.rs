//! One command of the past.

use std::io;

use tracer_core::{
    report::Exit,
    text::units::{bytes, count, duration},
};
use tracer_history::{Coverage, Entry, Fate, Gap, Stream};

use super::{Clock, command_of, gap, lead};
use crate::render::{
    Style, exit,
    live::fd_name,
    palette::{FAINT, ODD, PLAIN},
    text::{Page, Text},
};

/// A command, and what else is known about its time.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    entry: &'a Entry,
    others: u64,
    gaps: &'a [Gap],
    coverage: &'a [Coverage],
}

/// A command that was found, how many others match, and when tracer saw.
#[must_use]
pub fn past<'a>(
    entry: &'a Entry,
    others: u64,
    gaps: &'a [Gap],
    coverage: &'a [Coverage],
) -> Past<'a> {
    Past { entry, others, gaps, coverage }
}

impl Past<'_> {
    /// Writes when and where; with `is_whole` also the rest, because no report follows.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn write(
        &self,
        is_whole: bool,
        clock: &Clock,
        style: &Style,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let entry = self.entry;
        let mut page = Page::new(style, out);
        let lead = lead(entry, clock).and(PLAIN, "  ");
        page.words(lead, 2, PLAIN, &format!("{} ({})", command_of(entry), entry.pid))?;
        if is_whole {
            page.words(Text::blank(2), 2, PLAIN, &entry.sentence)?;
            entry.streams.iter().try_for_each(|stream| write_stream(&mut page, stream))?;
            self.write_times(&mut page, clock)?;
        }
        for gap in self.gaps {
            let words = format!("{}: {}", clock.time(gap.from_us), gap::words(gap, clock));
            page.words(Text::blank(2), 4, ODD, &words)?;
        }
        if self.others > 0 {
            let words = format!(
                "{} at that time; `tracer history` with the same options and --since lists all.",
                count(self.others, "other command")
            );
            page.words(Text::blank(2), 4, FAINT, &words)?;
        }
        Ok(())
    }

    /// How long it ran, how it ended, and whether tracer was there.
    fn write_times(&self, page: &mut Page<'_>, clock: &Clock) -> io::Result<()> {
        let Entry { began_us, ended_us, is_interim, exit_code, signal, .. } = self.entry;
        let ms = ended_us.saturating_sub(*began_us) as f64 / 1e3;
        let exit = (!is_interim).then_some(Exit { code: *exit_code, signal: *signal });
        let (how, ink) = exit::words(exit);
        let words = format!("{how}, {} after its start at {}", duration(ms), clock.time(*began_us));
        page.words(Text::blank(2), 4, ink, &words)?;
        let is_there = |it: &&Coverage| it.from_us <= *ended_us && it.until_us >= *began_us;
        let words = match self.coverage.iter().find(is_there) {
            Some(it) => {
                let (from, until) = (clock.time(it.from_us), clock.time(it.until_us));
                format!("tracer was attached from {from} until {until}")
            }
            None => "when tracer was attached is not known".to_owned(),
        };
        page.words(Text::blank(2), 4, FAINT, &words)
    }
}

/// `fd 1 stdout  312 B → pipe:[88123], unread by containerd-shim: 12 B lost`
fn write_stream(page: &mut Page<'_>, stream: &Stream) -> io::Result<()> {
    let Stream { fd, bytes: length, destination, outcome, reader, fate } = stream;
    let outcome = outcome.replace('_', " ");
    let reader = reader.as_ref().map(|reader| format!(" by {reader}")).unwrap_or_default();
    let fate = fate.map(|fate| fate_words(&fate, *length)).unwrap_or_default();
    let lead = Text::blank(2).and(FAINT, &fd_name(*fd)).and(PLAIN, "  ");
    let length = bytes(*length);
    page.words(lead, 4, PLAIN, &format!("{length} → {destination}, {outcome}{reader}{fate}"))
}

/// What did not arrive: `: 12 B lost, 4 B refused`. What became of all bytes is told by the outcome already.
fn fate_words(fate: &Fate, length: u64) -> String {
    let parts = [(fate.lost, "lost"), (fate.discarded, "discarded"), (fate.unknown, "not known")];
    let parts = parts.into_iter().filter(|(part, _)| *part != length);
    let parts = parts.chain([(fate.refused, "refused")]).filter(|(part, _)| *part > 0);
    let parts: Vec<String> = parts.map(|(part, what)| format!("{} {what}", bytes(part))).collect();
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}
