//! The page of one command.

use std::collections::BTreeSet;

use ratatui::text::{Line, Span};
use tracer_core::{
    report::{Chain, Close, CommandStream, Endpoint, Exit, Object, StreamSegment},
    snapshot::{Row, Snapshot},
    text::{escape, shorten, signal, units},
    verdict::{Confidence, Finding, Outcome, RedirectedBy},
};

use super::{
    bar::{bar, rate},
    ink::{Ink, Inks, mark},
    list::outcome_word,
};
use crate::top::state::State;

/// Columns of the bar of a stream.
const BAR: usize = 20;
/// The most processes that are named for having closed a read end.
const CLOSES: usize = 3;
/// The most lines of one command line.
const COMMAND_LINES: usize = 4;

/// The page as lines.
struct Page {
    lines: Vec<Line<'static>>,
    width: usize,
    inks: Inks,
}

pub(super) fn lines(state: &State, inks: Inks, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width).saturating_sub(2);
    let mut page = Page { lines: Vec::new(), width, inks };
    let snapshot = &state.snapshot;
    if let Some(row) = state.row() {
        page.head(row);
        page.findings(snapshot, row);
        page.images(row);
        let rates = state.rates.of(&row.id);
        for (at, stream) in row.command.streams.iter().enumerate() {
            page.stream(snapshot, row, stream, rates.get(at).copied().unwrap_or_default());
        }
        page.paths(snapshot, row);
        page.captured(snapshot, row);
    }
    page.lines
}

impl Page {
    fn push(&mut self, ink: Ink, text: impl Into<String>) {
        self.lines.push(Line::styled(text.into(), self.inks.style(ink)));
    }

    fn title(&mut self, title: &str) {
        self.push(Ink::Plain, "");
        self.push(Ink::Strong, title);
    }

    /// Text behind a mark, wrapped below itself.
    fn wrapped(&mut self, lead: (&str, Ink), text: &str, ink: Ink, most: usize) {
        let indent = lead.0.chars().count();
        let room = self.width.saturating_sub(indent).max(10);
        let text = escape(text);
        let wrapped = textwrap::wrap(&text, room);
        for (at, line) in wrapped.iter().take(most).enumerate() {
            let lead_text = if at == 0 { lead.0.to_owned() } else { " ".repeat(indent) };
            let mut line = line.clone().into_owned();
            if at + 1 == most && wrapped.len() > most {
                line = shorten(&format!("{line} …"), room);
            }
            self.lines.push(Line::from(vec![
                Span::styled(lead_text, self.inks.style(lead.1)),
                Span::styled(line, self.inks.style(ink)),
            ]));
        }
    }

    fn head(&mut self, row: &Row) {
        let command = &row.command;
        self.wrapped(("", Ink::Plain), &command.command, Ink::Strong, COMMAND_LINES);
        let start = if command.start_ms < 0.0 {
            "ran before the trace".to_owned()
        } else {
            format!("started at {}", units::offset(command.start_ms))
        };
        let pid = if command.pid == 0 { String::new() } else { format!("pid {} · ", command.pid) };
        self.push(Ink::Plain, format!("{pid}{start} · {}", ending(command.exit)));
        if let Some(place) = &row.place {
            self.wrapped(("in ", Ink::Faint), place, Ink::Plain, 2);
        }
        if let Some(path) = &command.opening {
            let words = format!("It sleeps while it opens {}.", shorten(path, self.width));
            self.push(Ink::Odd, words);
        }
    }

    /// The findings about a command; if there are none, those about the nearest command that started it.
    fn findings(&mut self, snapshot: &Snapshot, row: &Row) {
        let of = |row: &Row| -> Vec<&Finding> {
            let is_it = |finding: &&Finding| finding.pid != 0 && finding.pid == row.command.pid;
            snapshot.findings.iter().filter(is_it).collect()
        };
        let above = |row: &&Row| {
            let id = row.above?;
            snapshot.rows.iter().find(|known| known.id == id)
        };
        let mut line = std::iter::successors(Some(row), above).take(snapshot.rows.len());
        let Some(found) = line.find(|row| !of(row).is_empty()) else { return };
        if found.id != row.id {
            let name = shorten(&found.command.command, 40);
            let title = format!("About {name} (pid {}), which started it", found.command.pid);
            self.title(&title);
        } else {
            self.push(Ink::Plain, "");
        }
        for finding in of(found) {
            let (mark, ink) = mark(finding.severity);
            let text = format!("{} [{}]", finding.message, finding.rule);
            self.wrapped((&format!("{mark} "), ink), &text, Ink::Plain, usize::MAX);
            if let Some(advice) = &finding.advice {
                self.wrapped(("  → ", Ink::Faint), advice, Ink::Plain, usize::MAX);
            }
        }
    }

    fn images(&mut self, row: &Row) {
        let images = &row.command.images;
        if images.len() < 2 && row.command.more_images == 0 {
            return;
        }
        self.title("Programs that it ran");
        if row.command.more_images > 0 {
            let words =
                format!("  {} before these", units::count(row.command.more_images, "image"));
            self.push(Ink::Faint, words);
        }
        for image in images {
            let lead = format!("  {:>10}  ", units::offset(image.start_ms));
            self.wrapped((&lead, Ink::Faint), &image.command, Ink::Plain, 1);
        }
    }

    fn stream(&mut self, snapshot: &Snapshot, row: &Row, stream: &CommandStream, speed: f64) {
        let is_stderr = stream.stream == "stderr";
        let bytes = row.streams.get(usize::from(is_stderr)).copied().unwrap_or_default();
        self.title(if is_stderr { "stderr" } else { "stdout" });
        if let Some(title) = self.lines.last_mut()
            && bytes.written > 0
        {
            title.push_span(Span::raw("  "));
            bar(&bytes, BAR, self.inks).into_iter().for_each(|span| title.push_span(span));
            title.push_span(Span::raw(format!("  {}", rate(speed))));
        }
        let mut sums = vec![format!("written {}", units::bytes(bytes.written))];
        let parts = [
            ("arrived", bytes.arrived),
            ("inside", bytes.inside),
            ("lost", bytes.lost),
            ("discarded", bytes.discarded),
            ("not seen", bytes.unseen),
        ];
        let parts = parts.into_iter().filter(|(_, value)| *value > 0);
        sums.extend(parts.map(|(name, value)| format!("{name} {}", units::bytes(value))));
        self.wrapped(("  ", Ink::Plain), &sums.join(" · "), Ink::Plain, usize::MAX);
        for segment in &stream.segments {
            self.segment(snapshot, segment);
        }
        if stream.more_segments > 0 {
            let words = format!("  … and {}", units::count(stream.more_segments, "segment"));
            self.push(Ink::Faint, words);
        }
    }

    fn segment(&mut self, snapshot: &Snapshot, segment: &StreamSegment) {
        let fd = if segment.fd < 0 { "io_uring".to_owned() } else { format!("fd {}", segment.fd) };
        let lead = format!("  {fd} → ");
        let unsure = if segment.confidence == Confidence::Unsure { ", unsure" } else { "" };
        let text = format!("{}: {}{unsure}", segment.object, outcome_word(segment.outcome));
        self.wrapped((&lead, Ink::Faint), &text, Ink::Strong, usize::MAX);
        let by = match segment.redirected_by {
            Some(RedirectedBy::Inherited) => "inherited",
            Some(RedirectedBy::Launcher) => "set by what started it",
            Some(RedirectedBy::Itself) => "set by itself",
            None => "",
        };
        let since = segment.since_ms.map(|since_ms| format!("since {}", units::offset(since_ms)));
        let mut facts: Vec<String> = since.into_iter().collect();
        facts.extend((!by.is_empty()).then(|| by.to_owned()));
        facts.push(format!("it wrote {}", units::exact(segment.bytes)));
        let others = segment.started_bytes;
        facts.extend((others > 0).then(|| format!("what it started {}", units::exact(others))));
        let refused = segment.refused_bytes;
        facts.extend((refused > 0).then(|| format!("refused {}", units::exact(refused))));
        self.wrapped(("      ", Ink::Plain), &facts.join(" · "), Ink::Plain, usize::MAX);
        if segment.outcome != Outcome::NeverWritten
            && let Some(object) = snapshot.objects.get(&segment.object)
        {
            self.object(object);
        }
    }

    fn object(&mut self, object: &Object) {
        let mut facts = vec![
            format!("all writers {}", units::exact(object.written)),
            format!("read {}", units::exact(object.read)),
        ];
        let inside = object.inside.or(object.unread);
        let capacity =
            object.capacity.map_or(String::new(), |most| format!(" of {}", units::exact(most)));
        facts.extend(inside.map(|inside| format!("inside {}{capacity}", units::exact(inside))));
        let lead = format!("      {}: ", object.kind);
        self.wrapped((&lead, Ink::Faint), &facts.join(" · "), Ink::Plain, usize::MAX);
        let ends = |ends: &[Endpoint]| -> Vec<String> {
            let named =
                |end: &Endpoint| format!("{} ({}) {}", end.comm, end.pid, units::exact(end.bytes));
            ends.iter().filter(|end| end.bytes > 0).map(named).collect()
        };
        let readers = ends(&object.readers);
        if !readers.is_empty() {
            self.wrapped(("      read by ", Ink::Faint), &readers.join(", "), Ink::Plain, 3);
        }
        let mut seen = BTreeSet::new();
        let waiting =
            object.holders.iter().filter(|held| held.access != "write" && seen.insert(held.pid));
        let waiting: Vec<String> =
            waiting.map(|held| format!("{} ({})", held.comm, held.pid)).collect();
        if !waiting.is_empty() && object.kind != "file" {
            self.wrapped(("      can be read by ", Ink::Faint), &waiting.join(", "), Ink::Plain, 3);
        } else if inside.is_some_and(|inside| inside > 0) {
            self.push(Ink::Bad, "      no process holds it open for reading");
        }
        if object.unread.is_some_and(|unread| unread > 0) {
            self.closes(&object.closes);
        }
    }

    /// The latest closes of read ends, one for each process.
    fn closes(&mut self, closes: &[Close]) {
        let mut seen = BTreeSet::new();
        let latest = closes.iter().rev().filter(|close| seen.insert(close.pid)).take(CLOSES);
        let mut words: Vec<String> = latest
            .map(|close| {
                let by = if close.by == "exit" { ", by its end" } else { "" };
                let at = units::offset(close.at_ms);
                format!("{} ({}) closed its read end at {at}{by}", close.comm, close.pid)
            })
            .collect();
        words.reverse();
        for words in words {
            self.wrapped(("      ", Ink::Plain), &words, Ink::Plain, 2);
        }
    }

    /// The paths of its output, from process to process.
    fn paths(&mut self, snapshot: &Snapshot, row: &Row) {
        let is_own =
            |chain: &&Chain| chain.subject_pid == row.command.pid && chain.subject_pid != 0;
        let own: Vec<&Chain> = snapshot.hops.iter().filter(is_own).collect();
        if own.is_empty() {
            return;
        }
        self.title("Path of the output");
        for chain in own {
            let steps = chain.steps.iter().map(|step| {
                let read = step
                    .read
                    .map_or(String::new(), |read| format!("read {}, ", units::exact(read)));
                let to = step.object.as_ref().map_or_else(
                    || "wrote nothing that was seen".to_owned(),
                    |object| format!("wrote {} to {object}", units::exact(step.bytes)),
                );
                format!("{} ({}) {read}{to}", step.comm, step.pid)
            });
            let text = steps.collect::<Vec<_>>().join(" → ");
            self.wrapped(
                (&format!("  fd {}: ", chain.fd), Ink::Faint),
                &text,
                Ink::Plain,
                usize::MAX,
            );
        }
    }

    /// The end of captured output that did not arrive.
    fn captured(&mut self, snapshot: &Snapshot, row: &Row) {
        for found in snapshot.recovered.iter().filter(|found| found.pids.contains(&row.command.pid))
        {
            let size = units::count(found.bytes, "byte");
            let object = shorten(&found.object, 40);
            self.title(&format!("Captured output that did not arrive at {object}: {size}"));
            for line in found.text.lines() {
                let line = shorten(line, self.width.saturating_sub(4));
                self.lines.push(Line::from(vec![
                    Span::styled("  │ ", self.inks.style(Ink::Faint)),
                    Span::styled(line, self.inks.style(Ink::Plain)),
                ]));
            }
        }
    }
}

/// How a command ended.
fn ending(exit: Option<Exit>) -> String {
    match exit {
        None => "runs".to_owned(),
        Some(Exit { signal: Some(number), .. }) => format!("killed by {}", signal::named(number)),
        Some(Exit { code: Some(code), .. }) => format!("exit {code}"),
        Some(_) => "ended".to_owned(),
    }
}
