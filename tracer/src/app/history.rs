//! `tracer history` and `tracer why`: what the history says. Needs no eBPF.

use std::{
    io::{self, IsTerminal as _, Write as _},
    iter::Peekable,
    ops::ControlFlow,
};

use jiff::Zoned;
use tracer_core::report::{Report, Tail};
use tracer_history::{Answer, Entry, Gap, Reader};

use super::{
    AppError,
    begin::report_file,
    output::{Destination, Form, wants_color, width_of},
};
use crate::{
    render::{self, Clock, Format, HistoryItem, Style},
    settings::{HistorySettings, WhySettings},
};

/// Lists commands and gaps, the newest last.
///
/// # Errors
/// [`AppError`] if there is no history, or if standard output cannot be written to.
pub fn history(settings: &HistorySettings) -> Result<(), AppError> {
    let reader = Reader::open(&settings.folder)?;
    let mut list = List::new(settings);
    let written = match settings.limit {
        None => list.all(&reader),
        Some(limit) => list.newest(&reader, limit),
    };
    match written.and_then(|()| list.out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|source| AppError::Output { path: "standard output".into(), source })
        }
    }
}

/// A list that is being written.
struct List<'a> {
    settings: &'a HistorySettings,
    style: Style,
    clock: Clock,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

impl<'a> List<'a> {
    fn new(settings: &'a HistorySettings) -> Self {
        let stdout = io::stdout();
        let color = wants_color(settings.color, stdout.is_terminal());
        Self {
            settings,
            style: Style { color, width: width_of(&stdout) },
            clock: Clock::at(&Zoned::now()),
            out: io::BufWriter::new(stdout.lock()),
        }
    }

    /// Writes the newest entries, and the gaps among them.
    fn newest(&mut self, reader: &Reader, limit: usize) -> io::Result<()> {
        let entries = reader.entries(&self.settings.filter, limit);
        // Entries before the first one are left out, if there are as many as were asked for.
        let first = entries.first().filter(|_| entries.len() == limit);
        let mut gaps = self.gaps(reader, first.map(|entry| entry.ended_us));
        for entry in &entries {
            self.entry(&mut gaps, entry)?;
        }
        gaps.try_for_each(|gap| self.item(HistoryItem::Gap(&gap)))
    }

    /// Writes all entries and gaps, without keeping them in memory.
    fn all(&mut self, reader: &Reader) -> io::Result<()> {
        let mut gaps = self.gaps(reader, None);
        let mut result = Ok(());
        reader.for_each(&self.settings.filter, |entry| {
            result = self.entry(&mut gaps, &entry);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        result?;
        gaps.try_for_each(|gap| self.item(HistoryItem::Gap(&gap)))
    }

    /// The gaps that concern what is listed.
    fn gaps(&self, reader: &Reader, first_us: Option<i64>) -> Peekable<std::vec::IntoIter<Gap>> {
        let filter = &self.settings.filter;
        let since = filter.since_us.into_iter().chain(first_us).max().unwrap_or(i64::MIN);
        let mut gaps = reader.gaps(since, filter.until_us.unwrap_or(i64::MAX));
        gaps.retain(|gap| match (&gap.container, &filter.subject.container) {
            (Some(container), Some(asked)) => container.starts_with(asked.as_str()),
            _ => true,
        });
        gaps.into_iter().peekable()
    }

    /// Writes an entry after the gaps that began before its end.
    fn entry(
        &mut self,
        gaps: &mut Peekable<std::vec::IntoIter<Gap>>,
        entry: &Entry,
    ) -> io::Result<()> {
        while let Some(gap) = gaps.next_if(|gap| gap.from_us <= entry.ended_us) {
            self.item(HistoryItem::Gap(&gap))?;
        }
        self.item(HistoryItem::Entry(entry))
    }

    fn item(&mut self, item: HistoryItem<'_>) -> io::Result<()> {
        match self.settings.is_ndjson {
            true => render::history_json(item, &mut self.out),
            false => render::history_line(item, &self.clock, &self.style, &mut self.out),
        }
    }
}

/// Answers a question. Whether the answer is a loss.
///
/// # Errors
/// [`AppError`] if there is no history, or if the answer cannot be written.
pub fn why(settings: &WhySettings) -> Result<bool, AppError> {
    let WhySettings { folder, question, format, view, output, color } = settings;
    let file = report_file(output)?;
    let reader = Reader::open(folder)?;
    let answer = reader.why(question);
    if answer == Answer::Empty {
        return Err(AppError::EmptyHistory { path: folder.clone() });
    }
    let report = report_of(&answer);
    if report.is_none() && matches!(format, Format::Html | Format::Dot | Format::Mermaid) {
        return Err(AppError::NoReport);
    }
    let form = Form { format: *format, view: view.clone(), color: *color };
    let mut destination = Destination::open(output, file, form)?;
    let clock = Clock::at(&Zoned::now());
    if *format == Format::Human {
        let coverage = reader.coverage();
        let is_whole = report.is_none();
        destination.print(|style, out| match &answer {
            Answer::Found { entry, others, gaps } => {
                let past = render::past(entry, *others, gaps, &coverage);
                past.write(is_whole, &clock, style, out)
            }
            none => render::no_answer(none, &clock, style, out),
        })?;
    } else if report.is_none() {
        destination.print(|_, out| render::answer_json(&answer, out))?;
    }
    if let Some(report) = &report {
        destination.write(report)?;
        if *format == Format::Human && !report.tails.is_empty() {
            destination.print(|style, out| render::tails(report, style, out))?;
        }
    }
    destination.close(|_| true)?;
    let is_lost = matches!(&answer, Answer::Found { entry, .. } if entry.has_loss);
    Ok(is_lost || report.as_ref().is_some_and(Report::has_loss))
}

/// The report that was kept with the command that was found.
fn report_of(answer: &Answer) -> Option<Report> {
    let Answer::Found { entry, .. } = answer else { return None };
    let report = serde_json::from_slice::<Report>(entry.report.as_deref()?);
    let unreadable = |error: &serde_json::Error| {
        tracing::warn!("the report that was kept cannot be read: {error}");
    };
    let report = report.inspect_err(unreadable).ok()?;
    Some(Report { tails: entry.tails.iter().map(tail_of).collect(), ..report })
}

/// A tail as reports have it.
fn tail_of(tail: &tracer_history::Tail) -> Tail {
    let tracer_history::Tail { fd, object, written, lost, kept, missing, not_kept, text } = tail;
    let reason = |name: &String| serde_json::from_value(name.as_str().into()).ok();
    Tail {
        fd: *fd,
        object: object.clone(),
        written: *written,
        lost: *lost,
        kept: *kept,
        missing: *missing,
        not_kept: not_kept.as_ref().and_then(reason),
        text: String::from_utf8_lossy(text).into_owned(),
    }
}
