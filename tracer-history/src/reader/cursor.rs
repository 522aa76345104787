//! Walks through the rows of files in the order of time.

use std::{
    cell::RefCell, collections::HashMap, collections::HashSet, collections::VecDeque,
    ops::ControlFlow,
};

use rusqlite::Row as SqlRow;

use super::{Filter, Subject, file::File};
use crate::{
    store::{LONG_US, MEDIUM_US},
    time,
};

/// Rows that are read at once: few at first, because most questions need one.
const FIRST_CHUNK: usize = 64;
const LARGEST_CHUNK: usize = 4096;
/// With more places than this, all rows are read.
const MOST_PLACES: usize = 64;
/// Bits of the column `flags`.
const IS_INTERIM: i64 = 1;
const HAS_LOSS: i64 = 2;

/// The direction of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// Which rows, besides the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All.
    Any,
    /// Losses and warnings.
    Told,
    /// Losses.
    Lost,
    /// Those that lasted longer than [`MEDIUM_US`].
    Medium,
    /// Those that lasted longer than [`LONG_US`].
    Long,
}

/// What is looked for.
pub(super) struct Query<'a> {
    /// Ended at this time or later.
    pub(super) since_us: i64,
    /// Ended at this time or earlier.
    pub(super) until_us: i64,
    pub(super) kind: Kind,
    pub(super) subject: &'a Subject,
}

impl<'a> Query<'a> {
    pub(super) fn of(filter: &'a Filter) -> Self {
        Self {
            since_us: filter.since_us.unwrap_or(0),
            until_us: filter.until_us.unwrap_or(i64::MAX),
            kind: if filter.lost { Kind::Lost } else { Kind::Any },
            subject: &filter.subject,
        }
    }
}

/// The columns of an entry that decide whether it matches.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) began_us: i64,
    pub(super) ended_us: i64,
    /// 2 for a loss, 1 for a warning, 0 for the rest.
    pub(super) weight: i64,
    pub(super) pid: u32,
    pub(super) ns_pid: u32,
    flags: i64,
    place: i64,
    name: i64,
}

impl Row {
    fn read(row: &SqlRow<'_>) -> rusqlite::Result<Self> {
        let id = row.get(0)?;
        let ended_us = time::of_id(id);
        Ok(Self {
            id,
            began_us: ended_us.saturating_sub(row.get(1)?),
            ended_us,
            flags: row.get(2)?,
            weight: row.get(3)?,
            place: row.get(4)?,
            pid: row.get(5)?,
            ns_pid: row.get(6)?,
            name: row.get(7)?,
        })
    }

    pub(super) fn is_interim(&self) -> bool {
        self.flags & IS_INTERIM != 0
    }

    pub(super) fn has_loss(&self) -> bool {
        self.flags & HAS_LOSS != 0
    }
}

/// Gives the rows of several files to `take`, in the order of time.
pub(super) fn merge<'a>(
    files: &[&'a File],
    query: &Query<'_>,
    order: Order,
    take: &mut dyn FnMut(&'a File, &Row) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut cursors: Vec<Cursor<'a, '_>> =
        files.iter().flat_map(|file| Cursor::all(file, query, order)).collect();
    loop {
        let ids =
            cursors.iter_mut().enumerate().filter_map(|(at, cursor)| Some((cursor.peek()?, at)));
        let next = match order {
            Order::OldestFirst => ids.min(),
            Order::NewestFirst => ids.max(),
        };
        let Some(cursor) = next.and_then(|(_, at)| cursors.get_mut(at)) else {
            return ControlFlow::Continue(());
        };
        if let Some(row) = cursor.buffer.pop_front() {
            take(cursor.file, &row)?;
        }
    }
}

/// A place in the rows of one file, or in those of one place in it.
struct Cursor<'a, 'q> {
    file: &'a File,
    query: &'q Query<'q>,
    order: Order,
    /// The only place, found by an index.
    place: Option<i64>,
    /// All places that match, if there are too many for one cursor each.
    places: HashSet<i64>,
    /// Which names match.
    names: RefCell<HashMap<i64, bool>>,
    buffer: VecDeque<Row>,
    /// Ids that are still to be read.
    from: i64,
    until: i64,
    chunk: usize,
    is_done: bool,
    /// Whether the file turned out damaged, so that indexes are not used.
    is_careful: bool,
}

impl<'a, 'q> Cursor<'a, 'q> {
    fn all(file: &'a File, query: &'q Query<'q>, order: Order) -> Vec<Self> {
        let of = |place, places| Self {
            file,
            query,
            order,
            place,
            places,
            names: RefCell::default(),
            buffer: VecDeque::new(),
            from: time::id(query.since_us),
            until: time::id(query.until_us.saturating_add(1)).saturating_sub(1),
            chunk: FIRST_CHUNK,
            is_done: false,
            is_careful: false,
        };
        if !query.subject.has_place() {
            return vec![of(None, HashSet::new())];
        }
        match file.places(query.subject) {
            many if many.len() > MOST_PLACES => vec![of(None, many.into_iter().collect())],
            few => few.into_iter().map(|place| of(Some(place), HashSet::new())).collect(),
        }
    }

    /// Id of the next row.
    fn peek(&mut self) -> Option<i64> {
        while self.buffer.is_empty() && !self.is_done {
            self.fill();
        }
        self.buffer.front().map(|row| row.id)
    }

    fn fill(&mut self) {
        let (rows, is_whole) = self.read(self.order, self.chunk);
        let edge = rows.last().map(|row| row.id);
        self.is_done = rows.len() < self.chunk;
        self.take(rows);
        match (self.order, edge) {
            (Order::OldestFirst, Some(edge)) => self.from = edge + 1,
            (Order::NewestFirst, Some(edge)) => self.until = edge - 1,
            (_, None) => {}
        }
        self.chunk = (self.chunk * 2).min(LARGEST_CHUNK);
        if !is_whole {
            self.take_rest();
        }
    }

    fn take(&mut self, mut rows: Vec<Row>) {
        rows.retain(|row| self.matches(row));
        self.buffer.extend(rows);
    }

    /// Takes the rest of a damaged file, without indexes: what is before the damage, and what is after it.
    fn take_rest(&mut self) {
        self.file.set_damaged();
        (self.is_careful, self.is_done) = (true, true);
        let (mut rows, is_whole) = self.read(Order::OldestFirst, usize::MAX);
        if !is_whole {
            let last = rows.last().map_or(i64::MIN, |row| row.id);
            let (mut after, _) = self.read(Order::NewestFirst, usize::MAX);
            after.retain(|row| row.id > last);
            rows.extend(after.into_iter().rev());
        }
        if self.order == Order::NewestFirst {
            rows.reverse();
        }
        self.take(rows);
    }

    fn matches(&self, row: &Row) -> bool {
        let subject = self.query.subject;
        subject.has_pid(row.pid, row.ns_pid)
            && (self.places.is_empty() || self.places.contains(&row.place))
            && subject.name.as_ref().is_none_or(|name| {
                let is_match = || name.is_match(&self.file.text(row.name));
                *self.names.borrow_mut().entry(row.name).or_insert_with(is_match)
            })
    }

    /// The next rows in this order, and whether all of them could be read.
    fn read(&self, order: Order, most: usize) -> (Vec<Row>, bool) {
        let mut rows = Vec::new();
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.file.connection.prepare_cached(&self.sql(order, most))?;
            let mut found = statement.query([self.from, self.until])?;
            while let Some(row) = found.next()? {
                rows.push(Row::read(row)?);
            }
            Ok(())
        };
        let is_whole = read().is_ok();
        (rows, is_whole)
    }

    fn sql(&self, order: Order, most: usize) -> String {
        let (index, condition) = match self.query.kind {
            Kind::Any => ("entries_place", String::new()),
            Kind::Told => ("entries_told", " AND weight > 0".to_owned()),
            // The second condition is that of the index.
            Kind::Lost => ("entries_told", " AND weight > 1 AND weight > 0".to_owned()),
            Kind::Medium => ("entries_medium", format!(" AND lasted_us > {MEDIUM_US}")),
            Kind::Long => ("entries_long", format!(" AND lasted_us > {LONG_US}")),
        };
        let is_indexed = !self.is_careful && (self.place.is_some() || self.query.kind != Kind::Any);
        let index =
            if is_indexed { format!("INDEXED BY {index}") } else { "NOT INDEXED".to_owned() };
        let place = self.place.map(|place| format!(" AND place = {place}")).unwrap_or_default();
        let direction = if order == Order::OldestFirst { "ASC" } else { "DESC" };
        format!(
            "SELECT id, lasted_us, flags, weight, place, pid, ns_pid, name FROM entries {index} \
             WHERE id >= ?1 AND id <= ?2{place}{condition} ORDER BY id {direction} LIMIT {}",
            i64::try_from(most).unwrap_or(i64::MAX)
        )
    }
}
