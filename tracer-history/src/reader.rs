//! Answers questions about a history. It creates and changes no file.

mod ask;
mod cursor;
mod file;
mod open;
mod spans;
mod tails;
#[cfg(test)]
mod tests;
mod why;

use std::{
    cell::OnceCell,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

pub use self::ask::{Answer, Filter, Question, Subject};
use self::{
    cursor::{Order, Query, Row},
    file::File,
    spans::Spans,
};
use crate::{Coverage, Entry, Gap, HistoryError, folder, names::FileName, time};

/// The times of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) pid: u32,
    pub(crate) began_us: i64,
    pub(crate) ended_us: i64,
    pub(crate) is_interim: bool,
}

/// A history that is read. Files that the writer begins later are not seen: open a new reader for them.
pub struct Reader {
    folder: PathBuf,
    /// The oldest first.
    files: Vec<(FileName, OnceCell<Option<File>>)>,
}

impl Reader {
    /// Opens a history: while it is written, after its writer was killed, or as a copy without `-shm` files.
    ///
    /// # Errors
    /// [`HistoryError::NoFolder`] and [`HistoryError::Forbidden`]; other errors of the folder. Damaged files are no error.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        let names = folder::files(folder).map_err(|error| HistoryError::folder(folder, error))?;
        let folder = folder.canonicalize().map_err(|error| HistoryError::folder(folder, error))?;
        let files = names.into_iter().map(|name| (name, OnceCell::new())).collect();
        Ok(Self { folder, files })
    }

    /// The newest entries that match, at most `limit`, in the order of their ends. They have no reports.
    #[must_use]
    pub fn entries(&self, filter: &Filter, limit: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        if limit > 0 {
            self.visit(&Query::of(filter), Order::NewestFirst, &mut |file, row| {
                entries.extend(file.load(row));
                if entries.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
        }
        entries.reverse();
        entries
    }

    /// Gives each entry that matches to `take`, in the order of their ends, until it breaks. They have no reports.
    pub fn for_each(&self, filter: &Filter, mut take: impl FnMut(Entry) -> ControlFlow<()>) {
        self.visit(&Query::of(filter), Order::OldestFirst, &mut |file, row| {
            file.load(row).map_or(ControlFlow::Continue(()), &mut take)
        });
    }

    /// Gives the times of each entry that ended in a time span to `take`, in the order of their ends.
    pub(crate) fn for_each_times(
        &self,
        since_us: i64,
        until_us: i64,
        mut take: impl FnMut(Times) -> ControlFlow<()>,
    ) {
        let filter =
            Filter { since_us: Some(since_us), until_us: Some(until_us), ..Filter::default() };
        self.visit(&Query::of(&filter), Order::OldestFirst, &mut |_, row| {
            let Row { pid, began_us, ended_us, .. } = *row;
            take(Times { pid, began_us, ended_us, is_interim: row.is_interim() })
        });
    }

    /// The gaps that overlap a time span, in the order of their beginnings.
    #[must_use]
    pub fn gaps(&self, since_us: i64, until_us: i64) -> Vec<Gap> {
        let mut gaps = self.spans().gaps;
        gaps.retain(|gap| gap.overlaps(since_us, until_us));
        gaps
    }

    /// The times in which tracer was attached, in the order of their beginnings. What goes on in the next file is one.
    #[must_use]
    pub fn coverage(&self) -> Vec<Coverage> {
        self.spans().coverage
    }

    /// The answer to a question.
    #[must_use]
    pub fn why(&self, question: &Question) -> Answer {
        why::answer(self, question)
    }

    /// Files that can be read, the oldest first.
    fn files(&self) -> impl DoubleEndedIterator<Item = &File> {
        self.files.iter().filter_map(|(name, file)| self.opened(*name, file))
    }

    fn opened<'a>(&self, name: FileName, file: &'a OnceCell<Option<File>>) -> Option<&'a File> {
        file.get_or_init(|| File::open(&self.folder, name)).as_ref()
    }

    fn spans(&self) -> Spans {
        let mut spans = Spans::default();
        for (name, cell) in &self.files {
            let file = self.opened(*name, cell);
            if let Some(file) = file {
                spans.add(file.coverage(), file.gaps());
            }
            if name.is_broken || file.is_none_or(File::is_damaged) {
                spans.add_damaged(*name);
            }
        }
        spans.finish()
    }

    /// Gives each row that matches to `take`, in the order of time, until it breaks.
    fn visit<'a>(
        &'a self,
        query: &Query<'_>,
        order: Order,
        take: &mut dyn FnMut(&'a File, &Row) -> ControlFlow<()>,
    ) {
        // A file has what ended on its day, so the files of a day are all that must be merged.
        let (first, last) = (time::day(query.since_us), time::day(query.until_us));
        let mut days: Vec<i64> = self.files.iter().map(|(name, _)| name.day).collect();
        days.dedup();
        days.retain(|day| (first..=last).contains(day));
        if order == Order::NewestFirst {
            days.reverse();
        }
        for day in days {
            let files: Vec<&File> = self.files_of(day).collect();
            if cursor::merge(&files, query, order, take).is_break() {
                return;
            }
        }
    }

    fn files_of(&self, day: i64) -> impl Iterator<Item = &File> {
        let of_day = self.files.iter().filter(move |(name, _)| name.day == day);
        of_day.filter_map(|(name, file)| self.opened(*name, file))
    }
}
